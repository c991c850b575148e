"""decontaminate: drops the files that share words with a benchmark."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.spans import keep_files
from repoloom.corpus.tables import DOCUMENTS, DROPPED, Drops, excerpt
from repoloom.engine.step import Accounts, Params, Reader, Sink, Step
from repoloom.stages.decontaminate.tables import BENCHMARKS, HITS

if TYPE_CHECKING:
    from repoloom.corpus.contents import Contents
    from repoloom.stages.decontaminate.grams import Indices, Texts


class DecontaminateParams(Params):
    """None: what a copy is, the paper says."""


class Decontaminate(Step[DecontaminateParams]):
    """Cuts the files out of their documents; the other files of a document stay."""

    name = "decontaminate"
    reads = ("documents", "benchmarks")
    writes = {"documents": DOCUMENTS, "dropped": DROPPED, "hits": HITS}
    accounts = Accounts("documents", kept=("documents",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        benchmarks = pa.Table.from_batches(inputs["benchmarks"].batches(), BENCHMARKS).combine_chunks()
        if not len(benchmarks):  # nothing to look for, and the kernels need not be compiled for it
            for documents in inputs["documents"].batches():
                out.write("documents", documents)
            return
        from repoloom.corpus.contents import contents
        from repoloom.stages.decontaminate.grams import Texts, find

        indices = _index(benchmarks)
        for documents in inputs["documents"].batches():
            files = contents(documents)
            found = find(Texts(files.text, files.starts, files.ends), indices)
            keep = np.ones(len(files.spans), np.bool_)
            keep[found[:, 0]] = False
            out.write("documents", keep_files(documents, keep))
            repos = documents["repo"].take(pc.list_parent_indices(documents["spans"]))
            hits = _hits(files, repos, found, benchmarks, indices)
            out.write("hits", pa.RecordBatch.from_pylist(hits, HITS))
            out.write("dropped", _dropped(files, found, hits))


class BenchmarkWords:
    """Looks for words of benchmarks in texts that are in no documents, by the same rules."""

    def __init__(self, benchmarks: pa.Table) -> None:
        """`benchmarks`: rows of BENCHMARKS."""
        self._benchmarks = benchmarks.combine_chunks()
        self._indices = _index(self._benchmarks) if len(benchmarks) else None

    def shared(self, texts: Sequence[bytes]) -> dict[int, str]:
        """By the number of each text that shares words with a benchmark: which item's field, and the words."""
        if self._indices is None:
            return {}
        from repoloom.stages.decontaminate.grams import find

        files = _texts(texts)
        found: dict[int, str] = {}
        for file, row, start, stop in find(files, self._indices).tolist():
            found.setdefault(file, _said(self._benchmarks, row, files.text.bytes[start:stop].tobytes()))
        return found


def _said(benchmarks: pa.Table, row: int, words: bytes) -> str:
    item = " ".join(benchmarks[name][row].as_py() for name in ("benchmark", "item", "field"))
    return f"{item}: {' '.join(excerpt(words).split())}"


def _texts(texts: Sequence[bytes]) -> "Texts":
    from repoloom.corpus.words import as_text
    from repoloom.stages.decontaminate.grams import Texts

    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = ends - np.array([len(text) for text in texts], np.int64)
    return Texts(as_text(b"".join(texts)), starts, ends)


def _index(benchmarks: pa.Table) -> "Indices":
    from repoloom.stages.decontaminate.grams import Owners, index_texts

    owners = Owners(_runs(benchmarks.select(["benchmark"])), _runs(benchmarks.select(["benchmark", "item"])))
    return index_texts(_texts(benchmarks["text"].to_pylist()), owners)


def _runs(table: pa.Table) -> npt.NDArray[np.int64]:
    """Numbers the runs of equal rows."""
    if not len(table):
        return np.zeros(0, np.int64)
    changes = [pc.not_equal(column[1:], column[:-1]).to_numpy() for column in table.columns]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.logical_or.reduce(changes))])


def _hits(
    files: "Contents", repos: pa.StringArray, found: npt.NDArray[np.int64], benchmarks: pa.Table, indices: "Indices"
) -> list[dict[str, Any]]:
    """The rows of HITS."""
    from repoloom.stages.decontaminate.grams import LONG

    return [
        {
            "repo": repos[file].as_py(),
            "path": files.spans[file]["path"].as_py(),
            "rule": "benchmark_10gram" if indices.words[row] >= LONG else "benchmark_short",
            **benchmarks.slice(row, 1).select(["benchmark", "item", "field"]).to_pylist()[0],
            "words": " ".join(excerpt(files.text.bytes[start:stop].tobytes()).split()),
        }
        for file, row, start, stop in found.tolist()
    ]


def _dropped(files: "Contents", found: npt.NDArray[np.int64], hits: list[dict[str, Any]]) -> pa.RecordBatch:
    """A record for each file that was hit, with its first hit as the reason."""
    drops = Drops()
    dropped, first, count = np.unique(found[:, 0], return_index=True, return_counts=True)
    for file, hit, texts in zip(dropped.tolist(), first.tolist(), count.tolist(), strict=True):
        span, reason = files.spans[file].as_py(), hits[hit]
        drops.add(
            repo=reason["repo"],
            path=span["path"],
            language=span["language"],
            size=span["size"],
            rule=reason["rule"],
            value=texts,
            threshold=0,
            detail=f"{reason['benchmark']} {reason['item']} {reason['field']}: {reason['words']}",
            content=files.text.bytes[files.starts[file] : files.ends[file]].tobytes(),
        )
    return drops.take()
