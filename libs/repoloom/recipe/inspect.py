"""What became of a run's repositories; of one, its documents, their files in order and why, what was dropped and why.

What was held out for evaluation is in no table of documents but in one of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.corpus.reading import TableReader
from repoloom.engine.execute import load_step
from repoloom.engine.plan import Plan, Table
from repoloom.errors import InputError
from repoloom.recipe.run import datasets_at
from repoloom.recipe.sections import configure
from repoloom.text import nearest

_HELD_OUT = "held_out"
"""The rule of `split` by which a repository leaves whole, for the table of what is held out."""


class Import(Record):
    """Why a file stands after another."""

    imported: str
    line: int
    how: str


class File(Record):
    """A file of a document."""

    path: str
    language: str
    size: int
    imports: tuple[Import, ...]


class Document(Record):
    """A document: its files in text order."""

    number: int
    files: tuple[File, ...]


class Dropped(Record):
    """A file that a step dropped."""

    step: str
    path: str
    language: str
    size: int
    rule: str
    value: float | None
    threshold: float | None
    detail: str


class Lost(Record):
    """A task that was given up, and with it all the repositories that it was to read."""

    step: str
    at: str  # the repository it had come to, or the source that could not be had; "" where it had read none
    kind: str  # error, crash, timeout, memory, unavailable or refused
    error: str
    attempts: int


class Repository(Record):
    """All that a run knows of a repository."""

    repo: str
    revision: str
    license: str
    held_out: bool  # for evaluation: nothing is trained on it
    documents_of: str  # the last step that made documents
    documents: tuple[Document, ...]
    cycles: tuple[tuple[str, ...], ...]
    dropped: tuple[Dropped, ...]
    quarantined: tuple[Lost, ...]


class Listed(Record):
    """What is left of a repository, in numbers."""

    repo: str  # "" for the tasks of which nothing says what they were to read
    license: str
    crawled: int  # files
    dropped: int  # files, by the steps so far; those that are held out are none of them
    documents: int
    files: int  # in these documents
    bytes: int  # of these files, as crawled
    held_out: bool
    quarantined: tuple[Lost, ...]


@dataclass
class _Counts:
    license: str = ""
    crawled: int = 0
    dropped: int = 0
    documents: int = 0
    files: int = 0
    bytes: int = 0
    held_out: bool = False
    quarantined: tuple[Lost, ...] = ()


def list_repositories(uri: str) -> list[Listed]:
    """Every repository that the datasets at an address name, by name; memory grows with their number alone."""
    datasets = datasets_at(uri)
    holders = _holders(datasets)
    found: dict[str, _Counts] = defaultdict(_Counts)
    for row in _columns(holders, "repositories", ["repo", "license", "files"]):
        counts = found[row["repo"]]
        counts.license, counts.crawled = row["license"], row["files"]
    for table in ("documents", "heldout"):
        for repo, files, size in _documents(holders, table):
            counts = found[repo]
            counts.held_out = table == "heldout"
            counts.documents += 1
            counts.files += files
            counts.bytes += size
    for dataset in datasets:
        if "dropped" in dataset.manifest.tables and "pieces" not in dataset.manifest.inputs:
            for row in _columns({"dropped": dataset}, "dropped", ["repo", "rule"]):
                counts = found[row["repo"]]
                counts.dropped += row["rule"] != _HELD_OUT
                counts.crawled += dataset.manifest.step == "crawl"  # whose table of repositories knows only the others
    for repo, lost in _quarantined(datasets):
        found[repo].quarantined += (lost,)
    return [Listed(repo=repo, **vars(found[repo])) for repo in sorted(found)]


def look_up(uri: str, repo: str) -> Repository:
    """Gathers what the datasets at an address say of a repository. Raises InputError where none has heard of it."""
    datasets = datasets_at(uri)
    holders = _holders(datasets)
    imports: dict[str, list[Import]] = {}
    for row in _rows(holders, "edges", repo):
        imports.setdefault(row["importer"], []).append(
            Import(imported=row["imported"], line=row["line"], how=row["how"])
        )
    heldout = list(_rows(holders, "heldout", repo, leave_out="text"))
    documents = heldout or list(_rows(holders, "documents", repo, leave_out="text"))
    documents_of = holders.get("heldout" if heldout else "documents")
    dropped = tuple(
        Dropped(step=dataset.manifest.step, **{name: row[name] for name in Dropped.model_fields if name != "step"})
        for dataset in datasets
        if "dropped" in dataset.manifest.tables
        for row in _rows({"dropped": dataset}, "dropped", repo)
        if row["rule"] != _HELD_OUT
    )
    lost = tuple(lost for name, lost in _quarantined(datasets) if name == repo)
    about = next(_rows(holders, "repositories", repo), None) or (documents[0] if documents else None)
    if about is None and not dropped and not lost:
        raise InputError(f"{uri} has no repository {repo!r}" + nearest(repo, names_at(uri), alike=0.3))
    return Repository(
        repo=repo,
        revision=about["revision"] if about else "",
        license=about["license"] if about else "",
        held_out=bool(heldout),
        documents_of=documents_of.manifest.step if documents_of else "",
        documents=tuple(
            Document(
                number=row["document"],
                files=tuple(
                    File(
                        path=span["path"],
                        language=span["language"],
                        size=span["size"],
                        imports=tuple(imports.get(span["path"], ())),
                    )
                    for span in row["spans"]
                ),
            )
            for row in documents
        ),
        cycles=tuple(tuple(row["paths"]) for row in _rows(holders, "cycles", repo)),
        dropped=dropped,
        quarantined=lost,
    )


def names_at(uri: str) -> set[str]:
    """What can be looked up at an address: repositories that the crawl reached, and what is quarantined."""
    datasets = datasets_at(uri)
    crawled = {row["repo"] for row in _columns(_holders(datasets), "repositories", ["repo"])}
    return crawled | {failure.at for dataset in datasets for failure in dataset.manifest.quarantined if failure.at}


def _quarantined(datasets: Iterable[Dataset]) -> Iterator[tuple[str, Lost]]:
    """Each task that was given up, with each repository that was lost by it."""
    tables: dict[str, Table] = {}
    for dataset in datasets:
        manifest = dataset.manifest
        read = _read_by(dataset, tables) if manifest.quarantined else {}
        for failure in manifest.quarantined:
            lost = Lost(
                step=manifest.step, at=failure.at, kind=failure.kind, error=failure.error, attempts=failure.attempts
            )
            for repo in (read.get(failure.task, set()) | {failure.at}) - {""} or {""}:
                yield repo, lost
        tables.update({name: Table(dataset, name) for name in manifest.tables})


def _read_by(dataset: Dataset, tables: Mapping[str, Table]) -> dict[str, set[str]]:
    """By the keys of the tasks that were given up, the repositories that each was to read.

    It is planned anew, since a manifest does not say which parts of a long list a task had. Nothing is found where
    the tables are not at hand, or the step is of another version by now.
    """
    manifest = dataset.manifest
    step = load_step(manifest.step)
    shared = step.reads[:1]
    if step.version != manifest.version or not shared or any(name not in tables for name in step.reads):
        return {}
    source = tables[shared[0]].dataset
    schema = load_step(source.manifest.step).writes[shared[0]]
    if schema is None or "repo" not in schema.names:
        return {}
    given_up = {failure.task for failure in manifest.quarantined}
    plan = Plan(configure(step, manifest.params), tables, dataset.uri, manifest.cut.task_bytes)
    return {
        key: {
            repo
            for batch in TableReader(source.uri, shares[shared[0]]).batches(["repo"])
            for repo in batch["repo"].unique().to_pylist()
        }
        for shares in plan
        if (key := plan.key(shares)) in given_up
    }


def _holders(datasets: Iterable[Dataset]) -> dict[str, Dataset]:
    """The last dataset that has each table; what was dropped is in all of them."""
    return {table: dataset for dataset in datasets for table in dataset.manifest.tables if table != "dropped"}


def _columns(holders: Mapping[str, Dataset], table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    if table in holders:
        for batch in holders[table].reader(table).batches(columns):
            yield from batch.to_pylist()


def _documents(holders: Mapping[str, Dataset], table: str) -> Iterator[tuple[str, int, int]]:
    """Of each document its repository, its files and their bytes."""
    if table not in holders:
        return
    import numpy as np
    import pyarrow.compute as pc

    for batch in holders[table].reader(table).batches(["repo", "spans"]):
        spans = batch["spans"]
        files = pc.list_value_length(spans).to_pylist()
        sizes = pc.struct_field(pc.list_flatten(spans), "size")
        totals = np.bincount(pc.list_parent_indices(spans), sizes, batch.num_rows).astype(np.int64).tolist()
        yield from zip(batch["repo"].to_pylist(), files, totals, strict=True)


def _rows(holders: Mapping[str, Dataset], table: str, repo: str, leave_out: str = "") -> Iterator[dict[str, Any]]:
    if table not in holders:
        return
    import pyarrow.compute as pc

    reader = holders[table].reader(table)
    columns = [name for name in reader.columns() if name != leave_out]
    for batch in reader.batches(columns):
        yield from batch.filter(pc.equal(batch["repo"], repo)).to_pylist()
