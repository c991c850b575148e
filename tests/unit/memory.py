"""A reader and a sink in memory, so that a step can be tested without the engine."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa


class MemoryReader:
    """A table in memory, read as a task reads its share."""

    def __init__(self, table: pa.Table, batch_rows: int = 3) -> None:
        self._table = table
        self._batch_rows = batch_rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        present = self._table.column_names if columns is None else columns
        yield from self._table.select(list(present)).to_batches(max_chunksize=self._batch_rows)

    def repositories(self) -> Iterator[pa.Table]:
        names = self._table["repo"].to_pylist()
        start = 0
        for row in range(1, len(names) + 1):
            if row == len(names) or names[row] != names[start]:
                yield self._table.slice(start, row - start)
                start = row

    def table(self) -> pa.Table:
        return self._table

    def blobs(self) -> Iterator[bytes]:
        raise NotImplementedError("a table in memory has no raw parts")


class MemorySink:
    """Collects what a step writes."""

    def __init__(self) -> None:
        self._written: dict[str, list[pa.Table]] = defaultdict(list)
        self.raw: dict[tuple[str, str], bytes] = {}
        self.entered = (0, 0)

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        self._written[table].append(rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows]))

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:  # noqa: ARG002
        self.raw[table, name] = bytes(content)

    def roll(self, table: str) -> None:
        """Parts do not exist in memory."""

    def enter(self, files: int, size: int) -> None:
        self.entered = (self.entered[0] + files, self.entered[1] + size)

    def table(self, name: str) -> pa.Table:
        return pa.concat_tables(self._written[name]) if self._written[name] else pa.table({})
