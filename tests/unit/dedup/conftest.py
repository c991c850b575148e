from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest, Part
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import DOCUMENTS
from repoloom.corpus.writing import TaskWriter
from repoloom.engine.execute import execute
from repoloom.engine.plan import Table
from repoloom.engine.pool import Outcome
from repoloom.engine.reconcile import Policy, reconcile
from repoloom.engine.task import Task
from repoloom.stages import dedup
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import SIGNATURES
from repoloom.store import Store, open_store, write

Repository = Mapping[str, bytes]  # path -> content
Run = Callable[..., dict[str, pa.Table]]


class InProcess:
    """A pool of this process: the engine's tasks, run one after the other."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            yield Outcome(task, execute(task))


def document(repo: str, files: Repository, number: int = 0) -> dict[str, Any]:
    text, spans = b"", []
    for path, content in files.items():
        head = len(text)
        text += b"# " + path.encode() + b"\n"
        start = len(text)
        text += content
        spans.append(
            {
                "path": path,
                "language": "Python",
                "blob": "",
                "sha256": "",
                "size": len(content),
                "head": head,
                "start": start,
                "end": len(text),
            }
        )
        text += b"\n"
    return {
        "repo": repo,
        "revision": "1",
        "document": number,
        "domain": "code",
        "license": "MIT",
        "text": text,
        "spans": spans,
    }


def _input(root: Path, parts: Sequence[Mapping[str, Repository]]) -> Dataset:
    store = open_store(str(root))
    with TaskWriter(store, "tasks/input", {"documents": DOCUMENTS}) as writer:
        for part in parts:
            for repo, files in part.items():
                # one document a file, so that a repository spans several rows
                rows = [document(repo, {path: content}, n) for n, (path, content) in enumerate(files.items())]
                writer.write("documents", pa.Table.from_pylist(rows or [document(repo, {})], DOCUMENTS))
            writer.roll("documents")
        tables = writer.finish()
    return _dataset(store, tables)


def _dataset(store: Store, tables: Mapping[str, Sequence[Part]]) -> Dataset:
    listings = {name: write_listing(store, name, columns_of(parts)) for name, parts in tables.items()}
    cut = Cut(task_bytes=1, tasks=1)
    manifest = Manifest(step="input", version=1, params={}, inputs={}, tables=listings, ledger=Ledger(), cut=cut)
    write(store, "manifest.json", manifest.model_dump_json().encode())
    return Dataset(store.uri, manifest)


@pytest.fixture
def run_dedup(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the whole chain through the engine, by default a task for each part; returns the Parquet tables by name."""

    def run(*parts: Mapping[str, Repository], task_bytes: int = 1, **params: Any) -> dict[str, pa.Table]:
        root = tmp_path_factory.mktemp("dedup")
        source = _input(root / "input", parts)
        tables = {"documents": Table(source, "documents")}
        for step in dedup.STEPS:
            made = reconcile(
                step(DedupParams(**params)), tables, str(root / step.name), InProcess(), Policy(task_bytes=task_bytes)
            )
            assert not made.manifest.quarantined
            tables |= {name: Table(made, name) for name in step.writes}
        schemas = {name: schema for step in dedup.STEPS for name, schema in step.writes.items()}
        return {
            name: pa.Table.from_batches(tables[name].dataset.batches(name), schema)
            for name, schema in schemas.items()
            if schema is not None
        }

    return run


@pytest.fixture
def resolve_signatures(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the chain from given signatures, a part each, to the alarms; returns every dataset by its step."""

    def run(*parts: pa.Table, task_bytes: int = 1, pool: Any = None, **params: Any) -> dict[str, Dataset]:
        root = tmp_path_factory.mktemp("dedup")
        store = open_store(str(root / "input"))
        with TaskWriter(store, "tasks/input", {"signatures": SIGNATURES}) as writer:
            for part in parts:
                writer.write("signatures", part)
                writer.roll("signatures")
            source = _dataset(store, writer.finish())
        tables = {"signatures": Table(source, "signatures")}
        datasets = {}
        for step in dedup.STEPS:
            if "documents" in step.reads:
                continue
            dataset = reconcile(
                step(DedupParams(**params)),
                tables,
                str(root / step.name),
                pool or InProcess(),
                Policy(task_bytes=task_bytes),
            )
            assert not dataset.manifest.quarantined
            datasets[step.name] = dataset
            tables |= {name: Table(dataset, name) for name in step.writes}
        return datasets

    return run
