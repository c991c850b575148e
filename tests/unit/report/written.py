"""Datasets of a run, written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Count
from repoloom.corpus.manifest import Cut, Manifest, Quarantined
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import DOCUMENTS, DROPPED, FILES
from repoloom.corpus.writing import TaskWriter
from repoloom.engine.log import CommitLog
from repoloom.engine.task import Commit, Cost
from repoloom.stages.crawl.harvest import REPOSITORIES
from repoloom.stages.crawl.steps import SOURCES
from repoloom.stages.decontaminate.tables import BENCHMARKS, HITS
from repoloom.stages.dedup.tables import ALARMS, CLUSTERS, SIGNATURES
from repoloom.stages.mix.step import MIXTURE
from repoloom.stages.order.step import CYCLES, EDGES
from repoloom.stages.pack.step import PLACED
from repoloom.stages.quality.step import SCORES
from repoloom.stages.tokenize.encode import PIECES
from repoloom.stages.tokenize.vocabulary import TOKENIZER
from repoloom.store import open_store

__all__ = [
    "ALARMS", "BENCHMARKS", "CLUSTERS", "CYCLES", "DOCUMENTS", "DROPPED", "EDGES", "FILES", "HITS", "MIXTURE", "PIECES",
    "PLACED", "REPOSITORIES", "SCORES", "SIGNATURES", "SOURCES", "TOKENIZER", "Writer", "document", "dropped", "edge",
    "file", "piece", "row",
]  # fmt: skip

Rows = Sequence[Mapping[str, Any]]

_TASK = "0" * 32


class Writer:
    """Writes datasets by hand, through the same writer as a run's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        step: str,
        tables: Mapping[str, tuple[pa.Schema | None, Rows | bytes]],
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Sequence[str] = (),
        kept: tuple[str, ...] = (),
        entering: tuple[int, int] = (0, 0),
        quarantined: Sequence[Quarantined] = (),
        cost: Cost | None = None,
        version: int = 1,
    ) -> Dataset:
        """The dataset of a step: one task, whose tables are `tables`."""
        uri = f"{self._folder}/{step}"
        store = open_store(uri)
        with TaskWriter(store, f"tasks/{_TASK}", {name: schema for name, (schema, _) in tables.items()}) as writer:
            for name, (schema, rows) in tables.items():
                if isinstance(rows, bytes):
                    writer.blob(name, "000.bin", rows, rows=len(rows))
                else:
                    writer.write(name, pa.RecordBatch.from_pylist(list(rows), schema=schema))
            parts = writer.finish()
            ledger = writer.ledger(kept, Count(items=entering[0], size=entering[1]))
        if cost:
            log = CommitLog(store)
            log.add(Commit(task=_TASK, tables=parts, ledger=ledger, cost=cost))
            log.flush()
        manifest = Manifest(
            step=step,
            version=version,
            params=params or {},
            inputs=dict.fromkeys(inputs, "sha256:0"),
            tables={name: write_listing(store, name, columns_of(listed)) for name, listed in parts.items()},
            ledger=ledger,
            cut=Cut(task_bytes=1, tasks=1),
            quarantined=tuple(quarantined),
        )
        stores.write(store, MANIFEST, manifest.model_dump_json().encode())
        return Dataset.open(uri)


def row(schema: pa.Schema, **cells: Any) -> dict[str, Any]:
    """A row whose other cells are empty: "", b"", 0, [] or False, None where that is allowed."""
    return {field.name: cells.get(field.name, _empty(field)) for field in schema}


def _empty(field: pa.Field) -> Any:
    if field.nullable:
        return None
    kind = field.type
    if pa.types.is_list(kind):
        return []
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_binary(kind):
        return b""
    return False if pa.types.is_boolean(kind) else 0


def file(repo: str, path: str, size: int = 10, language: str = "Python") -> dict[str, Any]:
    return row(FILES, repo=repo, path=path, size=size, language=language, domain="code")


def dropped(repo: str, path: str, rule: str, size: int = 10, language: str = "Python", **cells: Any) -> dict[str, Any]:
    return row(DROPPED, repo=repo, path=path, rule=rule, size=size, language=language, **cells)


def document(repo: str, number: int, paths: list[str], size: int = 10, language: str = "Python") -> dict[str, Any]:
    """A document of files of `size` bytes without path comments."""
    spans = [
        {
            "path": path,
            "language": language,
            "blob": "",
            "sha256": "",
            "size": size,
            "head": place * size,
            "start": place * size,
            "end": (place + 1) * size,
        }
        for place, path in enumerate(paths)
    ]
    text = b"x" * size * len(paths)
    return row(DOCUMENTS, repo=repo, document=number, domain="code", text=text, spans=spans)


def edge(repo: str, importer: str, imported: str, line: int = 1, how: str = "package") -> dict[str, Any]:
    return row(EDGES, repo=repo, importer=importer, imported=imported, line=line, how=how)


def piece(repo: str, document: int, number: int, start: int, end: int, size: int, **cells: Any) -> dict[str, Any]:
    return row(
        PIECES, repo=repo, document=document, piece=number, domain="code", start=start, end=end, size=size, **cells
    )
