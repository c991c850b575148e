from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from memory import MemoryReader, MemorySink

from repoloom.corpus.tables import DOCUMENTS
from repoloom.stages.decontaminate.benchmarks import BenchmarkSource, BenchmarksParams, LoadBenchmarks
from repoloom.stages.decontaminate.step import Decontaminate, DecontaminateParams
from repoloom.stages.decontaminate.tables import BENCHMARKS

SHARED = Path(__file__).parents[4] / "shared" / "data" / "benchmarks"


@dataclass(frozen=True)
class Result:
    documents: list[dict[str, Any]]
    dropped: list[dict[str, Any]]
    hits: list[dict[str, Any]]

    @property
    def kept_paths(self) -> set[str]:
        return {span["path"] for document in self.documents for span in document["spans"]}

    @property
    def dropped_paths(self) -> set[str]:
        return {drop["path"] for drop in self.dropped}


def document(files: Mapping[str, bytes], number: int) -> dict[str, Any]:
    text, spans = b"", []
    for path, content in files.items():
        head = len(text)
        text += b"# " + path.encode() + b"\n"
        start = len(text)
        text += content
        place = {"head": head, "start": start, "end": len(text), "size": len(content)}
        spans.append({"path": path, "language": "Python", "blob": "", "sha256": "", **place})
        text += b"\n"
    return {
        "repo": f"git/{number}",
        "revision": "1",
        "document": 0,
        "domain": "code",
        "license": "",
        "text": text,
        "spans": spans,
    }


@pytest.fixture
def load() -> Callable[[Sequence[BenchmarkSource]], pa.Table]:
    def run(sources: Sequence[BenchmarkSource]) -> pa.Table:
        out = MemorySink()
        LoadBenchmarks(BenchmarksParams(benchmarks=tuple(sources))).run({}, out)
        return out.table("benchmarks")

    return run


@pytest.fixture
def decontaminate() -> Callable[..., Result]:
    def run(benchmarks: Sequence[bytes] | pa.Table, *documents: Mapping[str, bytes]) -> Result:
        """Texts stand for a benchmark "b" of one text an item."""
        if not isinstance(benchmarks, pa.Table):
            rows = [
                {"benchmark": "b", "item": str(number), "field": "text", "text": text}
                for number, text in enumerate(benchmarks)
            ]
            benchmarks = pa.Table.from_pylist(rows, BENCHMARKS)
        table = pa.Table.from_pylist([document(files, number) for number, files in enumerate(documents)], DOCUMENTS)
        out = MemorySink()
        inputs = {"documents": MemoryReader(table, batch_rows=2), "benchmarks": MemoryReader(benchmarks)}
        Decontaminate(DecontaminateParams()).run(inputs, out)
        return Result(*(out.table(name).to_pylist() for name in ("documents", "dropped", "hits")))

    return run


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the public benchmarks do not lie beside the repository, in ../shared/data/benchmarks")
    return SHARED
