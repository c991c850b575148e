"""Evaluation: how much text was held out, which of the filled holes are shown, and how much of the text around them."""

from itertools import chain, islice, zip_longest

from repoloom.evaluation.result import Evaluation, Sample
from repoloom.report.limits import Limits
from repoloom.report.tables import Tables


class Measured(Evaluation):
    """An evaluation as the page shows it."""

    held_out: int  # bytes of all held-out files; those measured are a sample of them

    @property
    def in_turn(self) -> bool:
        """Whether exact samples and others are both shown."""
        return len({sample.exact for sample in self.samples}) > 1


def measured(evaluation: Evaluation, tables: Tables, limits: Limits) -> Measured:
    """The same figures with a few samples: exact ones and others in turn, each with a few lines around the hole."""
    exact = [sample for sample in evaluation.samples if sample.exact]
    others = [sample for sample in evaluation.samples if not sample.exact]
    turns = (sample for sample in chain.from_iterable(zip_longest(exact, others)) if sample is not None)
    chosen = tuple(_cut(sample, limits) for sample in islice(turns, limits.samples))
    return Measured(
        overall=evaluation.overall, languages=evaluation.languages, samples=chosen, held_out=_held_out(tables)
    )


def _held_out(tables: Tables) -> int:
    spans = chain.from_iterable(row["spans"] for row in tables.rows("heldout", ["spans"]))
    return sum(span["end"] - span["start"] for span in spans)


def _cut(sample: Sample, limits: Limits) -> Sample:
    before = "\n".join(sample.prefix.split("\n")[-limits.lines :])[-limits.characters :]
    after = "\n".join(sample.suffix.split("\n")[: limits.lines])[: limits.characters]
    texts = {name: getattr(sample, name)[: limits.characters] for name in ("truth", "written")}
    return sample.model_copy(update={"prefix": before, "suffix": after, **texts})
