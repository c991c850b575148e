"""Writing a task's tables: Parquet parts, read back before they count, with the ledger kept as rows pass."""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.manifest import Part
from repoloom.corpus.reading import verify_part
from repoloom.errors import RepoloomError, StoreError
from repoloom.store import Store

ROW_GROUP_BYTES = 8 << 20  # what a reader holds at a time
PART_BYTES = 128 << 20  # uncompressed; a part ends at the next repository after it
_DIGITS = 16  # hexadecimal, of a part's SHA-256 in its key
_ZSTD_LEVEL = 3  # datatrove's and Parquet's usual choice: past it, writing costs more than the bytes it saves


class LedgerError(RepoloomError):
    """A step lost or invented rows."""


class TaskWriter:
    """The tables of one task. Its parts lie below `prefix`; they count for nobody until a commit names them.

    A part's key ends in the first digits of its SHA-256, so what one attempt wrote, another that wrote something else
    (as of a repository that changed meanwhile) never overwrites, be it frozen for however long in between.
    """

    def __init__(self, store: Store, prefix: str, schemas: Mapping[str, pa.Schema | None]) -> None:
        self._store = store
        self._prefix = prefix
        self._schemas = schemas
        self._open: dict[str, _OpenPart] = {}
        self._parts: dict[str, list[Part]] = {table: [] for table in schemas}
        self._entered = Count()
        self._tally: dict[str, dict[tuple[str, str], Count]] = {table: {} for table in schemas}

    def __enter__(self) -> "TaskWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._open.values():
            part.abandon()

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        """Appends rows, which must have the schema that the step declares."""
        if not rows.num_rows:
            return
        schema = self._schemas[table]
        if schema is None or rows.schema != schema:
            raise TypeError(f"table {table!r} has the schema\n{schema}\nbut was given rows of\n{rows.schema}")
        self._count(table, rows)
        part = self._open.get(table)
        if part is not None and part.full and part.may_end_before(rows):
            self.roll(table)
            part = None
        if part is None:
            number = len(self._parts[table])
            part = self._open[table] = _OpenPart(self._store, f"{self._prefix}/{table}-{number:03}", schema)
        part.append(rows)

    def roll(self, table: str) -> None:
        """Ends the current part of a table."""
        part = self._open.pop(table, None)
        if part is not None:
            self._parts[table].append(part.finish())

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        """Adds one raw part that counts as `rows` rows."""
        sha256 = hashlib.sha256(content).hexdigest()
        stem, dot, kind = name.rpartition(".")
        key = f"{self._prefix}/{table}-{stem}-{sha256[:_DIGITS]}{dot}{kind}"
        with self._store.create(key) as file:
            file.write(content)
        part = Part(key=key, sha256=sha256, bytes=len(content), rows=rows)
        verify_part(self._store, part)
        self._parts[table].append(part)

    def enter(self, files: int, size: int) -> None:
        """Counts what enters the ledger here."""
        self._entered += Count(items=files, size=size)

    def finish(self) -> dict[str, tuple[Part, ...]]:
        """Ends every part and returns them by table."""
        for table in list(self._open):
            self.roll(table)
        return {table: tuple(parts) for table, parts in self._parts.items()}

    def ledger(self, kept: tuple[str, ...], entering: Count | None) -> Ledger:
        """What passed, balanced. Raises LedgerError where files were lost or invented."""
        ledger = Ledger(
            entering=self._entered if entering is None else entering,
            kept={table: {language: count for (_, language), count in self._tally[table].items()} for table in kept},
            dropped=_by_rule(self._tally.get("dropped", {})),
        )
        if problem := ledger.imbalance():
            raise LedgerError(f"the ledger does not balance: {problem}")
        return ledger

    def _count(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        tally = self._tally[table]
        for rule, language, items, size in count_rows(rows):
            tally[rule, language] = tally.get((rule, language), Count()) + Count(items=items, size=size)


COUNTED = ("spans", "rule", "language", "domain", "size")
"""The columns that count_rows looks at."""


def count_rows(rows: pa.RecordBatch | pa.Table) -> Iterator[tuple[str, str, int, int]]:
    """(rule, language, items, size) of the files, dropped files, spans or pieces; nothing for other tables."""
    names = rows.schema.names
    if "spans" in names:
        spans = pc.list_flatten(rows["spans"])
        spans = spans.combine_chunks() if isinstance(spans, pa.ChunkedArray) else spans
        language, size = pc.struct_field(spans, "language"), pc.struct_field(spans, "size")
    elif "size" in names:
        language, size = rows["language" if "language" in names else "domain"], rows["size"]
    else:
        return
    rule = rows["rule"] if "rule" in names else pa.array([""] * len(size), pa.string())
    cells = pa.table({"rule": rule, "language": language, "size": size})
    counted = cells.group_by(["rule", "language"], use_threads=False).aggregate([("size", "count"), ("size", "sum")])
    for row in counted.to_pylist():
        yield row["rule"], row["language"], row["size_count"], row["size_sum"]


def _by_rule(tally: Mapping[tuple[str, str], Count]) -> dict[str, dict[str, Count]]:
    rules: dict[str, dict[str, Count]] = {}
    for (rule, language), count in tally.items():
        rules.setdefault(rule, {})[language] = count
    return rules


class _OpenPart:
    """A Parquet object that is being written."""

    def __init__(self, store: Store, stem: str, schema: pa.Schema) -> None:
        self._store = store
        self._stem = stem
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._bytes = 0
        self._rows = 0
        self._last_repository: pa.Scalar | None = None
        self._stack = contextlib.ExitStack()
        self._file = _Hashing(self._stack.enter_context(store.create(self._key)))
        dictionaries = [field.name for field in schema if pa.types.is_string(field.type)]
        self._parquet = pq.ParquetWriter(
            self._file, schema, compression="zstd", compression_level=_ZSTD_LEVEL, use_dictionary=dictionaries
        )

    @property
    def full(self) -> bool:
        return self._bytes >= PART_BYTES

    def may_end_before(self, rows: pa.RecordBatch | pa.Table) -> bool:
        return "repo" not in rows.schema.names or rows["repo"][0] != self._last_repository

    def append(self, rows: pa.RecordBatch | pa.Table) -> None:
        size = rows.nbytes
        self._pending.extend(rows.to_batches() if isinstance(rows, pa.Table) else [rows])
        self._pending_bytes += size
        self._bytes += size
        self._rows += rows.num_rows
        if "repo" in rows.schema.names:
            self._last_repository = rows["repo"][-1]
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _key(self) -> str:
        return f"{self._stem}-{self._file.sha256.hexdigest()[:_DIGITS]}.parquet"

    def _flush(self) -> None:
        if self._pending:
            rows = pa.Table.from_batches(self._pending)
            self._parquet.write_table(rows, row_group_size=rows.num_rows)
            self._pending.clear()
            self._pending_bytes = 0

    def finish(self) -> Part:
        self._flush()
        self._parquet.close()
        part = Part(key=self._key(), sha256=self._file.sha256.hexdigest(), bytes=self._file.size, rows=self._rows)
        self._stack.close()
        verify_part(self._store, part)
        return part

    def abandon(self) -> None:
        with contextlib.suppress(StoreError, pa.ArrowException):  # else it would be closed when it is collected
            self._parquet.close()
        error = RuntimeError("the task did not finish")
        self._stack.__exit__(RuntimeError, error, None)


class _Hashing(io.RawIOBase):
    """A writer that hashes what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, content: "bytes | memoryview") -> int:  # type: ignore[override]
        self._file.write(content)
        self.sha256.update(content)
        self.size += len(content)
        return len(content)
