"""Evaluation: which of the holes that the model filled are shown, and how much of the text around them."""

from itertools import chain, islice, zip_longest

from repoloom.evaluation.result import Evaluation, Sample
from repoloom.report.limits import Limits


def shown(evaluation: Evaluation, limits: Limits) -> Evaluation:
    """The same figures with a few samples: exact ones and others in turn, each with a few lines around the hole."""
    exact = [sample for sample in evaluation.samples if sample.exact]
    others = [sample for sample in evaluation.samples if not sample.exact]
    turns = (sample for sample in chain.from_iterable(zip_longest(exact, others)) if sample is not None)
    chosen = tuple(_cut(sample, limits) for sample in islice(turns, limits.samples))
    return evaluation.model_copy(update={"samples": chosen})


def _cut(sample: Sample, limits: Limits) -> Sample:
    before = "\n".join(sample.prefix.split("\n")[-limits.lines :])[-limits.characters :]
    after = "\n".join(sample.suffix.split("\n")[: limits.lines])[: limits.characters]
    texts = {name: getattr(sample, name)[: limits.characters] for name in ("truth", "written")}
    return sample.model_copy(update={"prefix": before, "suffix": after, **texts})
