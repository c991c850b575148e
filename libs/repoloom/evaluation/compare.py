"""The trained model and a freshly initialised one of the same shape, measured on the same held-out files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log

from repoloom.evaluation.bits_per_byte import Surprise, surprises
from repoloom.evaluation.held_out import HeldOutFile, Hole
from repoloom.evaluation.infilling import Filled, fill
from repoloom.evaluation.result import Compared, Evaluation, Sample, Scores
from repoloom.inference.complete import Completer
from repoloom.training.loop import new_model

SAMPLE_CHARACTERS = 600
"""Of a hole's context on either side: what a reader of the result wants to see."""


@dataclass(frozen=True)
class Status:
    """Where a comparison stands, for whoever watches."""

    at_work: str  # which model, and what it does
    done: int
    total: int
    unit: str  # "bytes" or "holes"


Watch = Callable[[Status], None]


def untrained(trained: Completer, seed: int) -> Completer:
    """The same shape and tokenizer with the weights that training with that seed began from."""
    model = new_model(trained.model.architecture, seed).to(trained.model.output_weight)
    return Completer(model, trained.codec, trained.order)


def compare(
    trained: Completer,
    fresh: Completer,
    files: Iterable[HeldOutFile],
    holes: Sequence[Hole],
    watch: Watch = lambda _: None,
) -> Evaluation:
    """Bits per byte over the files and infilling of the holes, overall and by language."""
    files = list(files)
    models = (("trained", trained), ("untrained", fresh))
    measured = [_Measured(name, completer, files, holes, watch) for name, completer in models]
    names = sorted({file.language for file in files} | {hole.language for hole in holes})
    return Evaluation(
        overall=_compared("", names, *measured),
        languages=tuple(_compared(name, [name], *measured) for name in names),
        samples=tuple(map(_sample, measured[0].filled)),
    )


class _Measured:
    """One model's results."""

    def __init__(
        self, name: str, completer: Completer, files: Sequence[HeldOutFile], holes: Sequence[Hole], watch: Watch
    ) -> None:
        reads = _Steps(f"{name} model reads", sum(len(file.content.encode()) for file in files), "bytes", watch)
        self.surprises: list[Surprise] = []
        for surprise in surprises(completer.model, completer.codec, files):
            self.surprises.append(surprise)
            reads.advance(surprise.bytes)
        fills = _Steps(f"{name} model fills", len(holes), "holes", watch)
        self.filled: list[Filled] = fill(completer, holes, fills.advance)

    def scores(self, languages: Sequence[str]) -> Scores:
        costs = [surprise for surprise in self.surprises if surprise.file.language in languages]
        filled = [answer for answer in self.filled if answer.hole.language in languages]
        size = sum(cost.bytes for cost in costs)
        return Scores(
            bits_per_byte=sum(cost.nats for cost in costs) / log(2) / size if size else None,
            exact_match=sum(answer.exact for answer in filled) / len(filled) if filled else None,
            edit_similarity=sum(answer.edit_similarity for answer in filled) / len(filled) if filled else None,
        )


class _Steps:
    """Counts what one model does, and tells of it."""

    def __init__(self, at_work: str, total: int, unit: str, watch: Watch) -> None:
        self._status = Status(at_work, 0, total, unit)
        self._watch = watch
        self.advance(0)

    def advance(self, count: int) -> None:
        self._status = replace(self._status, done=self._status.done + count)
        if self._status.total:
            self._watch(self._status)


def _compared(name: str, languages: Sequence[str], trained: _Measured, fresh: _Measured) -> Compared:
    return Compared(
        name=name,
        bytes=sum(cost.bytes for cost in trained.surprises if cost.file.language in languages),
        holes=sum(answer.hole.language in languages for answer in trained.filled),
        trained=trained.scores(languages),
        untrained=fresh.scores(languages),
    )


def _sample(answer: Filled) -> Sample:
    hole = answer.hole
    return Sample(
        repo=hole.repo,
        path=hole.path,
        language=hole.language,
        prefix=hole.prefix[-SAMPLE_CHARACTERS:],
        truth=hole.line,
        suffix=hole.suffix[:SAMPLE_CHARACTERS],
        written=answer.written,
        exact=answer.exact,
    )
