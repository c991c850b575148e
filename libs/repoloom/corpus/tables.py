"""The tables that stages exchange: files, documents, and what was dropped.

Text is `binary` throughout: bytes as they came from the crawl, valid UTF-8 without NUL from the filter on.
`size` is always the size in bytes of the file as it was crawled, so that byte totals reconcile through every stage
even where a later stage re-encodes the content.
"""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

FILES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),  # unique in a dataset, e.g. "pypi/requests"
        pa.field("revision", pa.string(), nullable=False),  # commit id or version
        pa.field("path", pa.string(), nullable=False),  # POSIX, relative; undecodable bytes as \xNN
        pa.field("domain", pa.string(), nullable=False),  # what the mix weighs: "code", "english", "chinese", ...
        pa.field("language", pa.string(), nullable=False),  # a name of corpus.languages, "" until the filter
        pa.field("license", pa.string(), nullable=False),  # SPDX expression, "" where none was found
        pa.field("blob", pa.string(), nullable=False),  # git blob id (SHA-1, hex) of the crawled bytes
        pa.field("sha256", pa.string(), nullable=False),  # hex, of `content`
        pa.field("size", pa.int64(), nullable=False),  # bytes as crawled
        pa.field("content", pa.binary(), nullable=False),
    ]
)
"""One row a file. All files of a repository are contiguous and in one part."""

DROPPED = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes as crawled
        pa.field("rule", pa.string(), nullable=False),  # e.g. "max_line_length"
        pa.field("value", pa.float64(), nullable=True),  # what was measured
        pa.field("threshold", pa.float64(), nullable=True),  # what was allowed
        pa.field("detail", pa.string(), nullable=False),  # evidence: the repository it duplicates, the benchmark hit
        pa.field("excerpt", pa.string(), nullable=False),  # the first characters, for a reader who wants to see it
    ]
)
"""One row a dropped file: which rule, what it measured, what it allows."""

SPAN = pa.struct(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("blob", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes as crawled
        pa.field("head", pa.int64(), nullable=False),  # byte offset in `text` where the file's path comment begins
        pa.field("start", pa.int64(), nullable=False),  # byte offset where its content begins
        pa.field("end", pa.int64(), nullable=False),  # byte offset where its content ends
    ]
)

DOCUMENTS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("document", pa.int32(), nullable=False),  # number within the repository, from 0
        pa.field("domain", pa.string(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
        pa.field("text", pa.binary(), nullable=False),  # UTF-8
        pa.field("spans", pa.list_(pa.field("item", SPAN, nullable=False)), nullable=False),  # in text order
    ]
)
"""One row a document: the files of one connected subgraph of a repository, dependencies first.

`text[head:start]` is a file's path comment, `text[start:end]` its content; what lies between two spans is line breaks.
"""

EXCERPT_CHARACTERS = 240


def excerpt(content: bytes) -> str:
    """The first characters of a file as printable text, for the drop record.

    Whatever the bytes are, the result is valid UTF-8 without control characters other than newline and tab.
    """
    text = content[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace")[:EXCERPT_CHARACTERS]
    return "".join(c if c in "\n\t" or c.isprintable() else "·" for c in text)


@dataclass
class Drops:
    """Collects drop records and hands them out as one batch."""

    _columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in DROPPED.names})

    def add(
        self,
        *,
        repo: str,
        path: str,
        language: str,
        size: int,
        rule: str,
        content: bytes,
        value: float | None = None,
        threshold: float | None = None,
        detail: str = "",
    ) -> None:
        """Records one dropped file; `content` is where the excerpt is taken from."""
        row = (repo, path, language, size, rule, value, threshold, detail, excerpt(content))
        for column, cell in zip(self._columns.values(), row, strict=True):
            column.append(cell)

    def take(self) -> pa.RecordBatch:
        """The records since the last call."""
        batch = pa.RecordBatch.from_pydict(self._columns, schema=DROPPED)
        for column in self._columns.values():
            column.clear()
        return batch
