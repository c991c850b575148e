"""What became of one repository: the documents it gave, their files in order and why, and what was dropped and why."""

from collections.abc import Iterator, Mapping
from typing import Any

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.errors import InputError
from repoloom.recipe.run import datasets_at


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


class Repository(Record):
    """All that a run knows of a repository."""

    repo: str
    revision: str
    license: str
    documents_of: str  # the last step that made documents
    documents: tuple[Document, ...]
    cycles: tuple[tuple[str, ...], ...]
    dropped: tuple[Dropped, ...]


def look_up(uri: str, repo: str) -> Repository:
    """Gathers what the datasets at an address say of a repository. Raises InputError where none has heard of it."""
    datasets = datasets_at(uri)
    holders = {table: dataset for dataset in datasets for table in dataset.manifest.tables if table != "dropped"}
    imports: dict[str, list[Import]] = {}
    for row in _rows(holders, "edges", repo):
        imports.setdefault(row["importer"], []).append(
            Import(imported=row["imported"], line=row["line"], how=row["how"])
        )
    documents = list(_rows(holders, "documents", repo, leave_out="text"))
    dropped = tuple(
        Dropped(step=dataset.manifest.step, **{name: row[name] for name in Dropped.model_fields if name != "step"})
        for dataset in datasets
        if "dropped" in dataset.manifest.tables
        for row in _rows({"dropped": dataset}, "dropped", repo)
    )
    about = next(_rows(holders, "repositories", repo), None) or (documents[0] if documents else None)
    if about is None and not dropped:
        raise InputError(f"{uri} has no repository {repo!r}" + _nearest(holders, repo))
    return Repository(
        repo=repo,
        revision=about["revision"] if about else "",
        license=about["license"] if about else "",
        documents_of=holders["documents"].manifest.step if "documents" in holders else "",
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
    )


def _rows(holders: Mapping[str, Dataset], table: str, repo: str, leave_out: str = "") -> Iterator[dict[str, Any]]:
    if table not in holders:
        return
    import pyarrow.compute as pc

    reader = holders[table].reader(table)
    columns = [name for name in reader.columns() if name != leave_out]
    for batch in reader.batches(columns):
        yield from batch.filter(pc.equal(batch["repo"], repo)).to_pylist()


def _nearest(holders: Mapping[str, Dataset], repo: str) -> str:
    import difflib

    if "repositories" not in holders:
        return ""
    names = {
        name
        for batch in holders["repositories"].reader("repositories").batches(["repo"])
        for name in batch["repo"].to_pylist()
    }
    near = difflib.get_close_matches(repo, names, n=1, cutoff=0.3)
    return f"; did you mean {near[0]!r}?" if near else ""
