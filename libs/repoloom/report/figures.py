"""The page's figures: which numbers each chart shows, and the words that stand for it where it cannot be seen."""

import math
from collections.abc import Callable

from markupsafe import Markup

from repoloom.corpus.ledger import Count
from repoloom.report.charts import Baseline, Format, Line, histogram, line_chart, segments
from repoloom.report.funnel import Funnel, Passage
from repoloom.report.quality import BINS, Quality, Syntax
from repoloom.report.tokens import Tokens
from repoloom.report.training import Training
from repoloom.report.wording import measure, number, percent, plural, scientific, size

HEAT_LEVELS = 6


def bytes_bar(passage: Passage, funnel: Funnel) -> Markup:
    """The bytes that a step kept and dropped, as shares of what entered the run."""
    return _passage_bar(passage, funnel, lambda count: count.size, size, "segments")


def files_bar(passage: Passage, funnel: Funnel) -> Markup:
    """The same in files."""
    return _passage_bar(
        passage, funnel, lambda count: count.items, lambda items: plural(items, "file"), "segments thin"
    )


def _passage_bar(
    passage: Passage, funnel: Funnel, amount: Callable[[Count], int], text: Callable[[int], str], style: str
) -> Markup:
    outcomes = [("kept", "kept", passage.kept)]
    outcomes += [(rule.name, "held" if rule.name == "held_out" else "lost", rule.dropped) for rule in passage.rules]
    whole = max(1, amount(funnel.entering))
    return segments(
        [(amount(count) / whole, kind, f"{name}: {text(amount(count))}") for name, kind, count in outcomes], style
    )


def heat(count: int, most: int) -> int:
    """How strongly a cell is shaded: 0 for nothing, then by the logarithm."""
    return 0 if not count else 1 + round((HEAT_LEVELS - 1) * math.log(count) / math.log(max(2, most)))


def piece_lengths(tokens: Tokens) -> Markup:
    """How long pieces are."""
    length = tokens.sequence_length
    full = tokens.lengths[-1] / max(1, tokens.pieces)
    return histogram(
        "Lengths of pieces",
        f"{number(tokens.pieces)} pieces of up to {number(length)} tokens; {percent(full)} fill a sequence",
        tokens.lengths,
        [(0.0, "0"), (0.5, f"{length // 2:,}"), (1.0, f"{length:,} tokens")],
        lambda count: number(round(count)),
    )


def scores(quality: Quality) -> Markup:
    """How the scores below 1 are spread."""
    return histogram(
        "Scores of style",
        f"{plural(sum(quality.scores), 'file')} below 1; a file below {measure(quality.min_score)} is dropped",
        quality.scores,
        [(0.0, "0"), (0.5, "0.5"), (1.0, "1")],
        lambda count: number(round(count)),
        lost=int(quality.min_score * BINS),
    )


def syntax(found: Syntax) -> Markup:
    """The files that a grammar reads, does not read, and was not asked about."""
    outcomes = [
        ("kept", "valid", found.valid),
        ("lost", "invalid", found.invalid),
        ("held", "not known", found.unknown),
    ]
    return segments(
        [(files / found.files, kind, f"{name}: {plural(files, 'file')}") for kind, name, files in outcomes],
        "segments thin",
    )


def loss(training: Training) -> Markup:
    """The loss, as measured and smoothed, over the steps."""
    return line_chart(
        "Training loss",
        f"From {training.first_loss:.2f} to {training.last_loss:.2f} nats a token in {number(training.steps)} steps; "
        f"token frequencies alone reach {training.unigram_loss:.2f}",
        [point.step for point in training.points],
        [Line([point.loss for point in training.points], "line faint"), Line(training.smooth_loss)],
        measure,
        height=300,
        baseline=Baseline(training.unigram_loss, f"token frequencies alone: {training.unigram_loss:.2f}"),
    )


def learning_rate(training: Training) -> Markup:
    """The learning rate over the steps."""
    rates = [point.learning_rate for point in training.points]
    return _small(training, "Learning rate", f"At most {scientific(max(rates))}", rates, scientific)


def gradient_norm(training: Training) -> Markup:
    """The norm of the gradient, before it was clipped, over the steps."""
    norms = [point.gradient_norm for point in training.points]
    return _small(training, "Gradient norm", f"Between {measure(min(norms))} and {measure(max(norms))}", norms, measure)


def speed(training: Training) -> Markup:
    """Tokens a second over the steps."""
    description = f"{number(round(training.tokens_per_second))} in the middle"
    speeds = [point.tokens_per_second for point in training.points]
    return _small(training, "Tokens a second", description, speeds, lambda value: number(round(value)))


def _small(training: Training, title: str, description: str, values: list[float], text: Format) -> Markup:
    steps = [point.step for point in training.points]
    return line_chart(title, description, steps, [Line(values)], text, height=150, from_zero=True)
