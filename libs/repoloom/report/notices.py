"""What a person should know of a run that did all it was told: what its parameters cost, and how to get it back."""

from collections.abc import Callable, Iterator, Mapping

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count
from repoloom.corpus.manifest import Record
from repoloom.report.wording import number, percent, plural, size
from repoloom.stages.mix.scarcity import scarcity
from repoloom.stages.mix.step import MixParams
from repoloom.stages.split.step import SplitParams

_NAMED = 8  # languages
_MUCH, _TIMES = 0.2, 2  # held out: that share of the bytes, and so many times what was asked for


class Notice(Record):
    """Something that a step did as its parameters say, and that is rarely what was meant."""

    title: str  # a clause without its full stop
    text: str  # what follows from it, and what to do

    @property
    def sentence(self) -> str:
        """Both of them."""
        return f"{self.title}. {self.text}"


def notices(dataset: Dataset) -> Iterator[Notice]:
    """What is to be known of a dataset."""
    if of_step := _NOTICES.get(dataset.manifest.step):
        yield from of_step(dataset)


def _scarce_domain(dataset: Dataset) -> Iterator[Notice]:
    mixture = dataset.reader("mixture").table().to_pylist()
    found = scarcity(mixture, MixParams.model_validate(dataset.manifest.params))
    if found is not None:
        lost = percent(1 - found.taken / found.could_be)
        yield Notice(
            title=f"The domain {found.domain} holds the whole mix back",
            text=f"It has {plural(found.available, 'token')} for a weight of {found.weight:g}, so the mix takes "
            f"{number(found.taken)} tokens where {number(found.could_be)} could be had: {lost} is left out. Lower "
            f"mix.weights.{found.domain} (at about {found.enough:.2g} it no longer does), or add text to it.",
        )


def _held_out(dataset: Dataset) -> Iterator[Notice]:
    yield from _none_held_out(dataset)
    yield from _much_held_out(dataset)
    yield from _lost_languages(dataset)


def _none_held_out(dataset: Dataset) -> Iterator[Notice]:
    ledger = dataset.manifest.ledger
    asked = SplitParams.model_validate(dataset.manifest.params).fraction
    if asked and ledger.entering.items and "held_out" not in ledger.dropped:
        yield Notice(
            title=f"No repository is held out, where split.fraction is {asked:g}",
            text="Repositories are drawn whole, so of few it may be none; an evaluation has nothing to measure then. "
            "Raise split.fraction, draw with another split.seed, or add repositories.",
        )


def _much_held_out(dataset: Dataset) -> Iterator[Notice]:
    ledger = dataset.manifest.ledger
    asked = SplitParams.model_validate(dataset.manifest.params).fraction
    lost = sum(ledger.dropped.get("held_out", {}).values(), Count())
    if lost.size > ledger.entering.size * max(_MUCH, asked * _TIMES):
        yield Notice(
            title=f"{percent(lost.size / ledger.entering.size)} of the bytes are held out, where split.fraction is "
            f"{asked:g}",
            text="Repositories are drawn whole, so of few, or of some that are far larger than the rest, the share may "
            "be far from the fraction. Draw with another split.seed, or add repositories.",
        )


def _lost_languages(dataset: Dataset) -> Iterator[Notice]:
    ledger = dataset.manifest.ledger
    kept = {language for languages in ledger.kept.values() for language, count in languages.items() if count.items}
    lost = {
        language: sum((languages[language] for languages in ledger.dropped.values() if language in languages), Count())
        for language in ledger.dropped.get("held_out", {})
        if language not in kept
    }
    if lost:
        names = sorted(lost, key=lambda language: (-lost[language].size, language))
        total = sum(lost.values(), Count())
        yield Notice(
            title=f"{_listed(names)} {'is' if len(names) == 1 else 'are'} held out altogether",
            text=f"{plural(total.items, 'file')} ({size(total.size)}) went to the evaluation, or repeat what did; "
            "none is left to train on. Lower split.fraction, draw with another split.seed, or add repositories.",
        )


def _listed(names: list[str]) -> str:
    named = names[:_NAMED]
    if len(names) > _NAMED:
        return f"{', '.join(named)} and {plural(len(names) - _NAMED, 'other language')}"
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


_NOTICES: Mapping[str, Callable[[Dataset], Iterator[Notice]]] = {"mix": _scarce_domain, "split": _held_out}
