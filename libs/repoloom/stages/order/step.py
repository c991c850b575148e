"""The step that turns the files of each repository into documents, dependencies first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from repoloom.corpus.tables import DOCUMENTS
from repoloom.engine.step import Accounts, Params, Reader, Sink, Step
from repoloom.stages.order.documents import CODE, read_files, shuffled, write_documents
from repoloom.stages.order.edges import edges
from repoloom.stages.order.languages.rules import Edge
from repoloom.stages.order.sort import adjacency, components, cycles, emission

EDGES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("importer", pa.string(), nullable=False),
        pa.field("imported", pa.string(), nullable=False),
        pa.field("line", pa.int32(), nullable=False),  # of the importer, from 1
        pa.field("how", pa.string(), nullable=False),  # what resolved it, e.g. "relative", "same-package"
    ]
)
"""One row an edge: a file that needs another one, and how that is known."""

CYCLES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("files", pa.int32(), nullable=False),
        pa.field("paths", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),  # sorted
    ]
)
"""One row for each set of files that need one another in circles."""


class OrderParams(Params):
    """How the files of a document follow one another."""

    mode: Literal["dependency", "random"] = Field(
        default="dependency", description="Dependencies first (arXiv 2401.14196 section 2.2), or drawn at random."
    )
    seed: int = Field(default=0, description="Draws the random order, with the repository's name.")


class Order(Step[OrderParams]):
    """Files to documents: one for each connected subgraph of a repository's imports."""

    name = "order"
    version = 2
    reads = ("files",)
    writes: ClassVar = {"documents": DOCUMENTS, "edges": EDGES, "cycles": CYCLES}
    accounts = Accounts("files", kept=("documents",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        for rows in inputs["files"].repositories():
            self._repository(rows, out)

    def _repository(self, rows: pa.Table, out: Sink) -> None:
        repo = rows["repo"][0].as_py()
        files = read_files(rows)
        is_code = [domain == CODE for domain in rows["domain"].to_pylist()]
        # numbered by path, which is how Algorithm 1 is to break ties
        code = sorted((number for number, yes in enumerate(is_code) if yes), key=lambda number: files[number].path)
        found = edges([files[number] for number in code])
        needs, needed_by = adjacency(len(code), _numbered(found, [files[number].path for number in code]))

        groups = [[number] for number, yes in enumerate(is_code) if not yes]
        for nodes in components(needs, needed_by):
            if self.params.mode == "dependency":
                groups.append([code[node] for node in emission(nodes, needs, needed_by)])
            else:
                groups.append(shuffled(repo, self.params.seed, files, [code[node] for node in nodes]))
        for batch in write_documents(rows, files, groups):
            out.write("documents", batch)
        if found:
            out.write(
                "edges", pa.RecordBatch.from_pylist([{"repo": repo, **edge._asdict()} for edge in found], schema=EDGES)
            )
        if circles := cycles(needs):
            paths = [[files[code[node]].path for node in circle] for circle in circles]
            out.write(
                "cycles",
                pa.RecordBatch.from_pylist([{"repo": repo, "files": len(p), "paths": p} for p in paths], schema=CYCLES),
            )


def _numbered(found: Sequence[Edge], paths: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Edges between numbers of paths; a path that occurs twice stands for the first."""
    numbers: dict[str, int] = {}
    for number, path in enumerate(paths):
        numbers.setdefault(path, number)
    return ((numbers[edge.importer], numbers[edge.imported]) for edge in found)
