"""Decontamination: what the benchmarks have in common with the corpus, and the evidence of each hit that is shown."""

from collections import Counter

from repoloom.corpus.manifest import Record
from repoloom.report.limits import Limits
from repoloom.report.tables import Tables


class Hit(Record):
    """A benchmark text that a dropped file has something of."""

    benchmark: str
    item: str
    field: str
    repo: str
    path: str
    rule: str
    words: str


class Benchmark(Record):
    """A benchmark that was looked for."""

    name: str
    texts: int
    hits: int


class Contamination(Record):
    """What decontamination looked for and found."""

    benchmarks: tuple[Benchmark, ...]
    hits: int
    shown: tuple[Hit, ...]


def contamination(tables: Tables, limits: Limits) -> Contamination | None:
    """What the tables say; None where nothing was looked for."""
    texts, hits = Counter[str](), Counter[str]()
    for batch in tables.batches("benchmarks", ["benchmark"]):
        for item in batch["benchmark"].value_counts().to_pylist():
            texts[item["values"]] += item["counts"]
    if not texts or tables.holder("hits") is None:
        return None
    shown: list[Hit] = []
    for row in tables.rows("hits", list(Hit.model_fields)):
        hits[row["benchmark"]] += 1
        if len(shown) < limits.hits:
            shown.append(Hit(**{**row, "words": row["words"][: limits.characters]}))
    return Contamination(
        benchmarks=tuple(Benchmark(name=name, texts=texts[name], hits=hits[name]) for name in sorted(texts)),
        hits=sum(hits.values()),
        shown=tuple(shown),
    )
