"""One repository as an example of how files are ordered: its import edges, the order they led to, its cycles."""

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.manifest import Record
from repoloom.report.tables import Tables

READABLE = range(12, 41)
"""Files of a graph that shows something and can still be read."""

_CANDIDATES = 32  # repositories that are looked at closely
_READABLE_EDGES, _READABLE_LAYERS, _READABLE_ROWS = 80, 7, 14
_READABLE_CIRCLES = 0.1  # share of the edges that go against the order
_MOST_EDGES = 1000  # of a repository that is looked at closely


class File(Record):
    """A file, by its place in the document."""

    path: str
    language: str
    size: int


class Edge(Record):
    """One file imports another; both are places in the document."""

    importer: int
    imported: int
    line: int
    how: str


class Example(Record):
    """A document of a repository."""

    repo: str
    revision: str
    document: int
    files: tuple[File, ...]  # in text order
    edges: tuple[Edge, ...]
    cycles: tuple[tuple[int, ...], ...]  # files that need one another

    @property
    def columns(self) -> list[list[int]]:
        """The files in layers, each right of all that it imports."""
        imported, importers = self.ties
        layer: list[int] = []
        for files in imported:
            layer.append(max((layer[file] + 1 for file in files), default=0))
        for file in reversed(range(len(layer))):  # what imports nothing stands right before its first importer
            if importers[file] and not imported[file]:
                layer[file] = min(layer[importer] for importer in importers[file]) - 1
        return [[file for file, its in enumerate(layer) if its == number] for number in sorted(set(layer))]

    @property
    def ties(self) -> tuple[list[list[int]], list[list[int]]]:
        """What each file imports that stands before it, and what stands after it and imports it.

        Imports against the order, which only circles have, are left out.
        """
        imported: list[list[int]] = [[] for _ in self.files]
        importers: list[list[int]] = [[] for _ in self.files]
        for edge in self.edges:
            if edge.imported < edge.importer:
                imported[edge.importer].append(edge.imported)
                importers[edge.imported].append(edge.importer)
        return imported, importers


class Dependencies(Record):
    """The edges of a run, and an example."""

    edges: int
    in_order: bool  # False: the run put files in random order
    how: tuple[tuple[str, int], ...]  # what resolved them, the most frequent first
    cycles: int
    documents: int | None
    example: Example | None


def dependencies(tables: Tables) -> Dependencies | None:
    """What the tables say; None where no files were ordered."""
    ordered = tables.holder("edges")
    if ordered is None:
        return None
    how: dict[str, int] = {}
    candidates: list[tuple[bool, int, str, pa.Table]] = []
    for edges in tables.repositories("edges"):
        for item in edges["how"].value_counts().to_pylist():
            how[item["values"]] = how.get(item["values"], 0) + item["counts"]
        if edges.num_rows <= _MOST_EDGES:
            files = len({*edges["importer"].to_pylist(), *edges["imported"].to_pylist()})
            fits = files in READABLE and edges.num_rows <= _READABLE_EDGES
            heapq.heappush(candidates, (fits, edges.num_rows, edges["repo"][0].as_py(), edges))
            if len(candidates) > _CANDIDATES:
                heapq.heappop(candidates)
    by_repository = {repo: edges.to_pylist() for *_, repo, edges in candidates}
    return Dependencies(
        edges=sum(how.values()),
        in_order=ordered.manifest.params.get("mode") != "random",
        how=tuple(sorted(how.items(), key=lambda item: (-item[1], item[0]))),
        cycles=tables.count("cycles") or 0,
        documents=ordered.manifest.tables["documents"].rows if "documents" in ordered.manifest.tables else None,
        example=_example(tables, by_repository),
    )


def _is_readable(example: Example) -> bool:
    against = sum(edge.imported > edge.importer for edge in example.edges)
    columns = example.columns
    return (
        len(example.files) in READABLE
        and len(example.edges) <= _READABLE_EDGES
        and len(columns) <= _READABLE_LAYERS
        and max(map(len, columns)) <= _READABLE_ROWS
        and against <= _READABLE_CIRCLES * len(example.edges)
    )


def _example(tables: Tables, edges: Mapping[str, list[dict[str, Any]]]) -> Example | None:
    """The document with most edges among the readable ones; failing that, among those with no more files."""
    best: tuple[tuple[bool, int, str], Example] | None = None
    repositories = pa.array(sorted(edges), pa.string())
    for batch in tables.batches("documents", ["repo", "revision", "document", "spans"]):
        for row in batch.filter(pc.is_in(batch["repo"], value_set=repositories)).to_pylist():
            if not 1 < len(row["spans"]) < READABLE.stop:
                continue
            places = {span["path"]: place for place, span in enumerate(row["spans"])}
            inside = [edge for edge in edges[row["repo"]] if edge["importer"] in places and edge["imported"] in places]
            example = _as_example(row, places, inside)
            rank = (_is_readable(example), len(inside), row["repo"])
            if inside and (best is None or rank > best[0]):
                best = rank, example
    if best is None:
        return None
    example = best[1]
    return example.model_copy(update={"cycles": _cycles(tables, example)})


def _as_example(row: Mapping[str, Any], places: Mapping[str, int], edges: Iterable[Mapping[str, Any]]) -> Example:
    return Example(
        repo=row["repo"],
        revision=row["revision"],
        document=row["document"],
        files=tuple(File(**{name: span[name] for name in File.model_fields}) for span in row["spans"]),
        edges=tuple(
            Edge(
                importer=places[edge["importer"]],
                imported=places[edge["imported"]],
                line=edge["line"],
                how=edge["how"],
            )
            for edge in edges
        ),
        cycles=(),
    )


def _cycles(tables: Tables, example: Example) -> tuple[tuple[int, ...], ...]:
    places = {file.path: place for place, file in enumerate(example.files)}
    return tuple(
        tuple(sorted(places[path] for path in row["paths"]))
        for row in tables.rows("cycles", ["repo", "paths"])
        if row["repo"] == example.repo and all(path in places for path in row["paths"])
    )
