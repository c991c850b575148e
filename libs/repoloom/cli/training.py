"""How training and evaluation look on a terminal: the loss beside the unigram baseline, tokens/s, time left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from repoloom.cli.live import LiveLine
from repoloom.cli.output import STOPPED, bytes_text, safe
from repoloom.corpus.dataset import Dataset
from repoloom.evaluation.compare import Status
from repoloom.evaluation.result import Evaluation, Sample
from repoloom.recipe.corpus import Corpus
from repoloom.recipe.model import Recipe
from repoloom.recipe.model_path import TRAIN, Stopped, evaluate_model, train_stages
from repoloom.recipe.results import MODEL, Conversations, StageName, Trained
from repoloom.recipe.training_stages import Stage, stages_of
from repoloom.text import visible
from repoloom.training.loop import StepReport
from repoloom.training.parallel import ParallelPlan, SingleProcess


def finish(recipe: Recipe, datasets: dict[str, Dataset], out: str, console: Console) -> None:
    """The part of a run after its data path: train, export, evaluate, and show a completion of a real hole."""
    corpus = Corpus.of(datasets)
    trained = train_and_show(stages_of(recipe, corpus, out), corpus, out, SingleProcess(), console)
    show_evaluation(evaluate_and_watch(recipe, trained, corpus, out, console), console)


def evaluate_and_watch(recipe: Recipe, trained: Trained, corpus: Corpus, out: str, console: Console) -> Evaluation:
    """Measures what was trained while one watches. Raises Exit on Ctrl-C, having said what is kept."""
    assert recipe.train is not None
    kept = f"kept is the model, {out}/{MODEL}; the same command measures it"
    with stoppable("the evaluation", kept, console), EvaluationView(console) as view:
        return evaluate_model(recipe.evaluate, trained, recipe.train.seed, corpus, out, view.status)


def train_and_show(
    stages: Sequence[Stage],
    corpus: Corpus,
    out: str,
    plan: ParallelPlan,
    console: Console,
    *,
    keep: bool = False,
    work: str = "",
) -> Trained:
    """Trains while one watches. Raises Exit where it was asked to stop, having said what is kept."""
    kept = f"kept are the checkpoints below {out}/{TRAIN}; the same command goes on from the newest"
    with stoppable("the training", kept, console), TrainingView(console) as view:
        ended = train_stages(stages, corpus, out, plan, view, keep=keep, work=work)
    if isinstance(ended, Stopped):
        kept = f"kept is its checkpoint, {ended.checkpoint}; the same command goes on from there"
        console.print(
            safe(f"stopped after step {ended.step} of {ended.steps} of {ended.stage}: {kept}"), soft_wrap=True
        )
        raise typer.Exit(STOPPED)
    show_trained(ended, out, console)
    return ended


@contextmanager
def stoppable(work: str, kept: str, console: Console) -> Iterator[None]:
    """Says on Ctrl-C what is kept of the work and what goes on with it, and raises Exit."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(safe(f"stopped in {work}: {kept}"), soft_wrap=True)
        raise typer.Exit(STOPPED) from None


class _TimedLine(LiveLine):
    """A line with words behind its bar, and the time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TextColumn("{task.fields[said]}"), TimeRemainingColumn(), TextColumn("left"))


class TrainingView(_TimedLine):
    """One live line; in a log, a line at every tenth of the run."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._stage = ""
        self._baseline = 0.0
        self.turn_to("train", "starting")

    def begin(self, stage: StageName, baseline: float) -> None:
        """Takes the unigram baseline of a stage, in nats a token."""
        self._stage, self._baseline = stage, baseline
        self.turn_to(stage, "starting")

    def step(self, report: StepReport) -> None:
        """Moves the line."""
        words = (
            f"step {report.step}/{report.steps}  loss {report.loss:.3f} (unigram {self._baseline:.3f})  "
            f"{report.tokens_per_second:,.0f} tokens/s"
        )
        self.move(report.step, report.steps, words)
        if not self.console.is_terminal and (report.step == 1 or report.step % max(1, report.steps // 10) == 0):
            self.console.print(f"  {self._stage}  {words}", highlight=False, soft_wrap=True)


class EvaluationView(_TimedLine):
    """One live line for each thing that each model does; in a log, a line as it begins."""

    def status(self, status: Status) -> None:
        """Moves the line."""
        done, total = (
            (bytes_text(status.done), bytes_text(status.total))
            if status.unit == "bytes"
            else (f"{status.done:,}", f"{status.total:,} {status.unit}")
        )
        if not self.is_at(status.at_work):
            self.turn_to(status.at_work)
            if not self.console.is_terminal:
                self.console.print(f"  evaluate  {status.at_work} {total}", highlight=False, soft_wrap=True)
        self.move(status.done, status.total, f"{done} of {total}")


def show_trained(trained: Trained, out: str, console: Console) -> None:
    """The lines that stay."""
    for stage in trained.stages:
        said = (
            f"{trained.parameters / 1e6:.1f} M parameters, {stage.steps} steps, "
            f"loss {stage.final_loss:.3f} (unigram {stage.unigram_loss:.3f} nats/token)  {stage.seconds:.1f} s"
        )
        console.print(Text.assemble(("✓", "green"), safe(f" {stage.stage:<22} {said}")), soft_wrap=True)
        if stage.conversations:
            console.print(safe(f"  {'':<22} {conversations_text(stage.conversations)}"), soft_wrap=True)
    console.print(Text.assemble(("✓", "green"), safe(f" {'export':<22} {out}/{MODEL}")), soft_wrap=True)


def conversations_text(counts: Conversations) -> str:
    """What became of the conversations."""
    return (
        f"{counts.kept:,} of {counts.read:,} conversations; {counts.contaminated:,} share words with a benchmark, "
        f"{counts.too_long:,} are longer than a sequence"
    )


def show_evaluation(evaluation: Evaluation, console: Console) -> None:
    """The scores by language, the trained model beside the untrained one, and one hole filled."""
    table = Table("language", box=None, header_style="bold", pad_edge=False)
    for column in ("bytes", "bits/byte", "holes", "exact match", "edit similarity"):
        table.add_column(column, justify="right")
    for row in (*evaluation.languages, evaluation.overall):
        table.add_row(
            row.name or "all",
            f"{row.bytes:,}",
            _beside(row.trained.bits_per_byte, row.untrained.bits_per_byte, ".2f"),
            str(row.holes),
            _beside(row.trained.exact_match, row.untrained.exact_match, ".1%"),
            _beside(row.trained.edit_similarity, row.untrained.edit_similarity, ".2f"),
            style="" if row.name else "bold",
        )
    console.print("\nOn held-out repositories, trained / untrained:", highlight=False)
    console.print(table)
    if evaluation.samples:
        show_sample(best_sample(evaluation), console)


def best_sample(evaluation: Evaluation) -> Sample:
    """The longest line that was filled exactly, else the first that was tried."""
    exact = [sample for sample in evaluation.samples if sample.exact]
    return max(exact, key=lambda sample: len(sample.truth.strip())) if exact else evaluation.samples[0]


def show_sample(sample: Sample, console: Console) -> None:
    """A hole in its place: what stands around it, what the model wrote, what had stood there."""
    ending = "exactly what had stood there" if sample.exact else f"there had stood: {sample.truth.strip()}"
    text = Text.assemble(
        "\n",
        safe(f"a hole in {sample.repo} {sample.path}:", "bold"),
        "\n",
        (visible("".join(sample.prefix.splitlines(keepends=True)[-4:])), "dim"),
        (visible(sample.written.strip("\n")) or "(only line breaks)", "green" if sample.exact else "yellow"),
        (visible("\n".join(sample.suffix.split("\n")[:4])), "dim"),
        "\n",
        safe(ending),
    )
    console.print(text)


def _beside(trained: float | None, untrained: float | None, form: str) -> str:
    return " / ".join("–" if value is None else format(value, form) for value in (trained, untrained))
