"""The repositories of a table: JSONL or Parquet, a file a row, the rows of a repository one after another.

A row that has no text where it should is a file that is refused; the others are taken.
"""

import hashlib
import io
import itertools
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from repoloom.stages.crawl.archive import damage_reported, decompressed
from repoloom.stages.crawl.entry import Entry, Refusal, Repository
from repoloom.stages.crawl.errors import RepositoryTooLargeError, UnreadableSourceError
from repoloom.stages.crawl.limits import Budget
from repoloom.stages.crawl.paths import repository_name
from repoloom.stages.crawl.sources import Columns, JsonlSource, ParquetSource

_CHUNK = 1 << 20
_BATCH_ROWS = (
    64  # a file is up to a few MiB in memory, and a dictionary page can make every row as large as the largest
)


def repositories(source: JsonlSource | ParquetSource, table: Path, budget: Budget) -> Iterator[Repository]:
    """The repositories of a table in its order.

    Raises UnreadableSourceError; RepositoryTooLargeError where a row or the whole table unpacks to too much.
    """
    rows = (
        _jsonl_rows(source, table, budget) if isinstance(source, JsonlSource) else _parquet_rows(source, table, budget)
    )
    columns, table_name, seen = source.columns, source.repository, array("Q")
    for name, group in itertools.groupby(enumerate(rows), lambda row: _text(row, columns.repo) or _number(row)):
        if columns.repo is not None:
            digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            seen.append(int.from_bytes(digest, "little"))
        repo = f"{table_name}/{repository_name(name)}"
        yield Repository(repo, source.revision or "", source.kind, source.path, _entries(group, columns))
    _check_together(source, seen)


def _check_together(source: JsonlSource | ParquetSource, seen: "array[int]") -> None:
    """Raises UnreadableSourceError where two runs of rows are of one repository: 8 bytes each tell, not their names."""
    if np.unique(np.frombuffer(seen, np.uint64)).size < len(seen):
        raise UnreadableSourceError(
            f"{source}: the rows of a repository are not together; sort the table by {source.columns.repo!r}"
        )


def _entries(rows: Iterable[tuple[int, Mapping[str, Any]]], columns: Columns) -> Iterator[Entry]:
    for row in rows:
        content = row[1].get(columns.content)
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        path = _text(row, columns.path)
        found = (path or _number(row)).encode("utf-8", "surrogatepass")
        if not isinstance(content, bytes):
            yield _refused(row, found, 0, columns.content)
        elif path is None:
            yield _refused(row, found, len(content), columns.path)
        elif _text(row, columns.repo) is None:
            yield _refused(row, found, len(content), columns.repo)
        else:
            yield Entry(found, len(content), lambda content=content: content)  # type: ignore[misc]


def _refused(row: tuple[int, Mapping[str, Any]], path: bytes, size: int, column: str | None) -> Entry:
    return Entry(path, size, Refusal("unreadable", f"row {row[0]} has no text in column {column!r}"))


def _number(row: tuple[int, Mapping[str, Any]]) -> str:
    return f"{row[0]:09}"


def _text(row: tuple[int, Mapping[str, Any]], column: str | None) -> str | None:
    """A cell of a row, its number where there is no such column; None where it should hold text, and does not."""
    if column is None:
        return _number(row)
    cell = row[1].get(column)
    return cell if isinstance(cell, str) and cell else None


class _Watched(io.RawIOBase):
    """What a table unpacks to, stopped where that is too much for its size."""

    def __init__(self, unpacked: io.BufferedIOBase, packed: int, budget: Budget) -> None:
        self._unpacked = unpacked
        self._packed = packed
        self._budget = budget
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - a writable buffer
        size = self._unpacked.readinto(buffer)
        self._size += size
        self._budget.check_ratio(self._size, self._packed)
        return size


def _jsonl_rows(source: JsonlSource, table: Path, budget: Budget) -> Iterator[Mapping[str, Any]]:
    most = budget.limits.max_repository_bytes
    repository: Any = None
    with damage_reported(str(source)), decompressed(table) as unpacked:
        file = io.BufferedReader(_Watched(unpacked, table.stat().st_size, budget), _CHUNK)
        for number in itertools.count():
            line = file.readline(most + 1)
            if not line:
                return
            if len(line) > most:
                raise RepositoryTooLargeError(f"{source}: row {number} has more than {most} bytes")
            row = _json_object(line)
            if number == 0:
                _check_columns(source.columns, row or {})
            if row is None:  # refused, as a file of the repository that it stands among
                row = {} if source.columns.repo is None else {source.columns.repo: repository}
            elif source.columns.repo is not None:
                repository = row.get(source.columns.repo)
            yield row


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _parquet_rows(source: ParquetSource, table: Path, budget: Budget) -> Iterator[Mapping[str, Any]]:
    from repoloom.corpus.reading import open_parquet

    packed, size = table.stat().st_size, 0
    with damage_reported(str(source)), open_parquet(table) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=_check_columns(source.columns, file.schema_arrow.names)):
            size += batch.nbytes
            budget.check_ratio(size, packed)
            yield from pa.Table.from_batches([batch]).to_pylist()


def _check_columns(columns: Columns, found: Iterable[str]) -> list[str]:
    """The names of the columns that are read. Raises ValueError where a table has them not."""
    names = [name for name in (columns.repo, columns.path, columns.content) if name is not None]
    if missing := set(names) - set(found):
        raise ValueError(
            f"it has no column {', '.join(sorted(missing))}; it has {', '.join(found)}: say in `columns` which is which"
        )
    return names
