"""From ordered files to documents: the text, and spans that say where each file lies in it, byte for byte."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from repoloom.corpus.tables import DOCUMENTS
from repoloom.prompts.path_header import path_header
from repoloom.stages.order.tree import SourceFile

CODE = "code"
"""The domain whose files are ordered by their imports; a file of any other domain is a document of its own."""

DOCUMENT_BYTES = 1 << 30
"""A longer document is cut between two files: an Arrow binary column holds less than 2^31 bytes."""

BATCH_BYTES = 8 << 20
"""Documents are handed out once they come to so much text: a row group, which is what a reader holds at a time."""

_SEPARATOR = b"\n"
_SPAN_COLUMNS = ("path", "language", "blob", "sha256", "size")


def read_files(rows: pa.Table) -> list[SourceFile]:
    """The files of a table, their content in place."""
    paths, languages = rows["path"].to_pylist(), rows["language"].to_pylist()
    contents = _contents(rows["content"])
    return [SourceFile(*file) for file in zip(paths, languages, contents, strict=True)]


def _contents(column: pa.ChunkedArray) -> Iterator[memoryview]:
    for chunk in column.chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            bounds = memoryview(offsets).cast("i")[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
            view = memoryview(data or b"")
            for start, end in pairwise(bounds):
                yield view[start:end]


def shuffled(repo: str, seed: int, files: Sequence[SourceFile], group: Iterable[int]) -> list[int]:
    """The files of a group in an order drawn from the seed and the repository's name."""

    def draw(number: int) -> bytes:
        return hashlib.blake2b(f"{seed}/{repo}/{number}/{files[number].path}".encode(), digest_size=16).digest()

    return sorted(group, key=draw)


def write_documents(
    rows: pa.Table, files: Sequence[SourceFile], groups: Iterable[Sequence[int]]
) -> Iterator[pa.RecordBatch]:
    """The documents of one repository, one for each group of files (numbers of rows), in order of their first path."""
    columns = {name: rows[name].to_pylist() for name in ("domain", "license", *_SPAN_COLUMNS)}
    batch = _Batch(rows["repo"][0].as_py(), rows["revision"][0].as_py())
    for group in sorted(groups, key=lambda group: min((files[number].path, number) for number in group)):
        document = _Document()
        for number in group:
            header = _header(files[number], columns["domain"][number])
            size = len(header) + len(files[number].content) + len(_SEPARATOR)
            if document.numbers and document.length + size > DOCUMENT_BYTES:
                yield from batch.add(document, columns)
                document = _Document()
            document.append(number, header, files[number].content)
        yield from batch.add(document, columns)
    yield from batch.take()


def _header(file: SourceFile, domain: str) -> bytes:
    """The path comment of code; prose stands for itself."""
    return path_header(file.path, file.language).encode() if domain == CODE else b""


@dataclass
class _Document:
    """Files one after another."""

    numbers: list[int] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)  # head, start, end
    pieces: list[bytes | memoryview] = field(default_factory=list)
    length: int = 0

    def append(self, number: int, header: bytes, content: bytes | memoryview) -> None:
        if self.numbers:
            self.pieces.append(_SEPARATOR)
            self.length += len(_SEPARATOR)
        start = self.length + len(header)
        self.numbers.append(number)
        self.places.append((self.length, start, start + len(content)))
        self.pieces += (header, content)
        self.length = start + len(content)


class _Batch:
    """The documents of one repository that are not yet handed out."""

    def __init__(self, repo: str, revision: str) -> None:
        self._repo, self._revision = repo, revision
        self._count = 0
        self._bytes = 0
        self._rows: list[dict[str, Any]] = []

    def add(self, document: _Document, columns: dict[str, list[Any]]) -> Iterator[pa.RecordBatch]:
        """Adds a document; hands out those before it where all would be too much for one batch."""
        if self._bytes + document.length > BATCH_BYTES:
            yield from self.take()
        first = document.numbers[0]
        self._rows.append(
            {
                "repo": self._repo,
                "revision": self._revision,
                "document": self._count,
                "domain": columns["domain"][first],
                "license": _all_of(columns["license"][number] for number in document.numbers),
                "text": b"".join(document.pieces),
                "spans": [
                    {name: columns[name][number] for name in _SPAN_COLUMNS} | {"head": head, "start": start, "end": end}
                    for number, (head, start, end) in zip(document.numbers, document.places, strict=True)
                ],
            }
        )
        self._count += 1
        self._bytes += document.length

    def take(self) -> Iterator[pa.RecordBatch]:
        if self._rows:
            yield pa.RecordBatch.from_pylist(self._rows, schema=DOCUMENTS)
            self._rows, self._bytes = [], 0


def _all_of(licenses: Iterable[str]) -> str:
    """The SPDX expression for text under all of these licences (SPDX 2.3 annex D)."""
    distinct = sorted(set(licenses) - {""})
    if len(distinct) < 2:
        return "".join(distinct)
    return " AND ".join(f"({each})" if " " in each else each for each in distinct)
