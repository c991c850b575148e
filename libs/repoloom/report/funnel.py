"""What the ledgers say: what entered each step, what it kept, what each rule dropped, with examples."""

import heapq
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count, Counts
from repoloom.corpus.manifest import Record
from repoloom.corpus.tables import DROPPED
from repoloom.report.limits import Limits


class Example(Record):
    """A dropped file."""

    repo: str
    path: str
    language: str
    size: int
    value: float | None
    threshold: float | None
    detail: str
    excerpt: str


class Rule(Record):
    """What a rule dropped."""

    name: str
    dropped: Count
    languages: Mapping[str, Count]
    examples: tuple[Example, ...]


class Passage(Record):
    """A step that keeps accounts: what entered it, and what became of that."""

    step: str
    entering: Count
    kept: Count
    rules: tuple[Rule, ...]  # the one that dropped most bytes first


class Language(Record):
    """What was seen of a language when it was told, and what of it is left at the end."""

    name: str
    seen: Count
    kept: Count


class Funnel(Record):
    """The accounts of a run, in files and bytes as crawled."""

    passages: tuple[Passage, ...]
    columns: tuple[str, ...]  # the languages with most drops
    languages: tuple[Language, ...]  # the one with most bytes left first

    @property
    def entering(self) -> Count:
        return self.passages[0].entering

    @property
    def kept(self) -> Count:
        return self.passages[-1].kept


def passages(datasets: Iterable[Dataset], limits: Limits) -> Iterator[Passage]:
    """The passages through the datasets whose ledgers are not empty."""
    for dataset in datasets:
        ledger = dataset.manifest.ledger
        if not ledger.entering.items:
            continue
        examples = _examples(dataset, limits) if ledger.dropped else {}
        rules = (
            Rule(
                name=name,
                dropped=sum(languages.values(), Count()),
                languages=languages,
                examples=tuple(examples.get(name, ())),
            )
            for name, languages in ledger.dropped.items()
        )
        yield Passage(
            step=dataset.manifest.step,
            entering=ledger.entering,
            kept=ledger.total_kept,
            rules=tuple(sorted(rules, key=lambda rule: (-rule.dropped.size, rule.name))),
        )


def funnel(datasets: Sequence[Dataset], limits: Limits) -> Funnel | None:
    """The funnel of the datasets that account for files; None where there is none."""
    accounting = [dataset for dataset in datasets if "pieces" not in dataset.manifest.inputs]
    found = tuple(passages(accounting, limits))
    if not found:
        return None
    return Funnel(passages=found, columns=_columns(found, limits.languages), languages=tuple(_languages(accounting)))


def _columns(found: Iterable[Passage], most: int) -> tuple[str, ...]:
    totals: dict[str, int] = {}
    for passage in found:
        for rule in passage.rules:
            for language, count in rule.languages.items():
                if language:
                    totals[language] = totals.get(language, 0) + count.items
    return tuple(heapq.nsmallest(most, totals, key=lambda language: (-totals[language], language)))


def _languages(datasets: Iterable[Dataset]) -> Iterator[Language]:
    """Languages as the first ledger that knows them saw them, and as the last one kept them."""
    told = [ledger for dataset in datasets if set(_by_language((ledger := dataset.manifest.ledger).kept)) - {""}]
    if not told:
        return
    seen, kept = _by_language(told[0].kept, told[0].dropped), _by_language(told[-1].kept)
    for name in sorted(seen, key=lambda name: (-kept.get(name, Count()).size, -seen[name].size, name)):
        if name:
            yield Language(name=name, seen=seen[name], kept=kept.get(name, Count()))


def _by_language(*counts: Counts) -> dict[str, Count]:
    totals: dict[str, Count] = {}
    for count in counts:
        for languages in count.values():
            for language, found in languages.items():
                totals[language] = totals.get(language, Count()) + found
    return totals


def _examples(dataset: Dataset, limits: Limits) -> dict[str, list[Example]]:
    """For each rule the files whose names have the smallest checksums: a sample that hangs on the files alone."""
    chosen: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    seen = 0
    for batch in dataset.batches("dropped") if limits.examples else ():
        columns = (batch[name].to_pylist() for name in ("repo", "path", "rule"))
        for row, (repo, path, rule) in enumerate(zip(*columns, strict=True)):
            heap = chosen.setdefault(rule, [])
            rank = -zlib.crc32(f"{repo}/{path}".encode())
            if len(heap) < limits.examples:
                heapq.heappush(heap, (rank, -seen - row, batch.slice(row, 1).to_pylist()[0]))
            elif rank > heap[0][0]:
                heapq.heapreplace(heap, (rank, -seen - row, batch.slice(row, 1).to_pylist()[0]))
        seen += batch.num_rows
    return {rule: [_example(row, limits) for *_, row in sorted(heap, reverse=True)] for rule, heap in chosen.items()}


def _example(row: Mapping[str, Any], limits: Limits) -> Example:
    cut = {name: cell[: limits.characters] if isinstance(cell, str) else cell for name, cell in row.items()}
    return Example(**{name: cut[name] for name in DROPPED.names if name != "rule"})
