"""The repositories of a table: JSONL or Parquet, a file a row, the rows of a repository one after another."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from repoloom.stages.crawl.archive import damage_reported, decompressed
from repoloom.stages.crawl.entry import Entry, Repository
from repoloom.stages.crawl.errors import RepositoryTooLargeError, UnreadableSourceError
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.paths import repository_name
from repoloom.stages.crawl.sources import Columns, JsonlSource, ParquetSource

_BATCH_ROWS = (
    64  # a file is up to a few MiB in memory, and a dictionary page can make every row as large as the largest
)


def repositories(source: JsonlSource | ParquetSource, table: Path, limits: Limits) -> Iterator[Repository]:
    """The repositories of a table in its order. Raises UnreadableSourceError."""
    rows = _jsonl_rows(source, table, limits) if isinstance(source, JsonlSource) else _parquet_rows(source, table)
    columns, seen = source.columns, set[str]()
    numbered = enumerate(rows)
    for name, group in itertools.groupby(numbered, lambda row: _text(row, columns.repo, str(source))):
        if name in seen:
            raise UnreadableSourceError(
                f"{source}: the rows of repository {name!r} are not together; sort the table by it"
            )
        seen.add(name)
        repo = f"{source.repository}/{repository_name(name)}"
        yield Repository(repo, source.revision or "", source.kind, source.path, _entries(group, columns, str(source)))


def _entries(rows: Iterable[tuple[int, Mapping[str, Any]]], columns: Columns, source: str) -> Iterator[Entry]:
    for number, row in rows:
        content = row.get(columns.content)
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        if not isinstance(content, bytes):
            raise UnreadableSourceError(f"{source}: row {number} has no text in column {columns.content!r}")
        path = _text((number, row), columns.path, source).encode("utf-8", "surrogatepass")
        yield Entry(path, len(content), lambda content=content: content)  # type: ignore[misc]


def _text(row: tuple[int, Mapping[str, Any]], column: str | None, source: str) -> str:
    number, cells = row
    if column is None:
        return f"{number:09}"
    cell = cells.get(column)
    if not isinstance(cell, str) or not cell:
        raise UnreadableSourceError(f"{source}: row {number} has no text in column {column!r}")
    return cell


def _jsonl_rows(source: JsonlSource, table: Path, limits: Limits) -> Iterator[Mapping[str, Any]]:
    with damage_reported(str(source)), decompressed(table) as file:
        for number in itertools.count():
            line = file.readline(limits.max_repository_bytes + 1)
            if not line:
                return
            if len(line) > limits.max_repository_bytes:
                raise RepositoryTooLargeError(
                    f"{source}: row {number} has more than {limits.max_repository_bytes} bytes"
                )
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is not a JSON object")
            yield row


def _parquet_rows(source: ParquetSource, table: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    columns = source.columns
    names = [name for name in (columns.repo, columns.path, columns.content) if name is not None]
    with damage_reported(str(source)), pq.ParquetFile(table, pre_buffer=False) as file:
        if missing := set(names) - set(file.schema_arrow.names):
            raise ValueError(
                f"it has no column {', '.join(sorted(missing))}; it has {', '.join(file.schema_arrow.names)}"
            )
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            yield from pa.Table.from_batches([batch]).to_pylist()
