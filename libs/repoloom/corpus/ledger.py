"""The ledger: whatever enters a step leaves it kept, or dropped by a named rule; numbers and sizes must balance."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict


class Count(BaseModel):
    """A number of items and their size: files and bytes as crawled, or (after tokenization) pieces and tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: int = 0
    size: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(items=self.items + other.items, size=self.size + other.size)


Counts = Mapping[str, Mapping[str, Count]]


class Ledger(BaseModel):
    """What entered a step, what each of its tables kept by language, and what each rule dropped by language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entering: Count = Count()
    kept: Counts = {}  # table -> language -> count
    dropped: Counts = {}  # rule -> language -> count
    quarantined: Count = Count()  # what entered tasks that were given up

    @property
    def total_kept(self) -> Count:
        """The sum over tables and languages."""
        return _total(self.kept)

    @property
    def total_dropped(self) -> Count:
        """The sum over rules and languages."""
        return _total(self.dropped)

    def imbalance(self) -> str | None:
        """What does not add up, in one line; None where the ledger balances."""
        kept, dropped = self.total_kept, self.total_dropped
        if self.entering == kept + dropped + self.quarantined:
            return None
        return (
            f"{self.entering.items} items of size {self.entering.size} entered, "
            f"but {kept.items} of {kept.size} were kept and {dropped.items} of {dropped.size} dropped"
            + (f", {self.quarantined.items} of {self.quarantined.size} quarantined" if self.quarantined.items else "")
        )


def add_up(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum of the tasks' ledgers, its keys sorted so that equal sums are equal text."""
    entering = quarantined = Count()
    kept: dict[tuple[str, str], list[int]] = {}
    dropped: dict[tuple[str, str], list[int]] = {}
    for ledger in ledgers:
        entering += ledger.entering
        quarantined += ledger.quarantined
        for into, counts in ((kept, ledger.kept), (dropped, ledger.dropped)):
            for name, languages in counts.items():
                for language, count in languages.items():
                    total = into.setdefault((name, language), [0, 0])
                    total[0] += count.items
                    total[1] += count.size
    return Ledger(entering=entering, kept=_nest(kept), dropped=_nest(dropped), quarantined=quarantined)


def _nest(totals: Mapping[tuple[str, str], list[int]]) -> dict[str, dict[str, Count]]:
    nested: dict[str, dict[str, Count]] = {}
    for (name, language), (items, size) in sorted(totals.items()):
        nested.setdefault(name, {})[language] = Count(items=items, size=size)
    return nested


def _total(counts: Counts) -> Count:
    return sum((count for languages in counts.values() for count in languages.values()), Count())
