"""Steps of a stage one after another in memory, for a call that needs more than one of them: nothing of it is kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from repoloom.corpus.grouping import repositories
from repoloom.corpus.manifest import Part
from repoloom.engine.step import Params, Reader, Step

Content: TypeAlias = pa.RecordBatch | bytes
"""Of a part: rows, or what a step wrote raw."""

TASK_BYTES = 8 << 20
"""Of a step's first table: little, so that no task holds much, and the end of a call is noticed between two."""


class Chain:
    """The tables that steps have written so far."""

    def __init__(self, go_on: Callable[[], None], hold: Callable[[Content], None]) -> None:
        """`go_on` is called before a part is read or written, `hold` with what is to be kept: each may raise."""
        self._go_on = go_on
        self._hold = hold
        self._tables: dict[str, list[_Kept]] = {}

    def run(self, step: Step[Params], streams: Mapping[str, Reader] | None = None) -> None:
        """Runs a step: once on streams, or task by task on what the steps before it wrote."""
        for table in step.writes:
            self._tables.setdefault(table, [])
        if streams is not None:
            step.run(streams, self)
            return
        tables = {name: self._tables[name] for name in step.reads}
        kept = {name: {one.part.key: one for one in table} for name, table in tables.items()}
        for shares in step.plan({name: [one.part for one in table] for name, table in tables.items()}, TASK_BYTES):
            inputs = {
                name: _Memory([kept[name][part.key] for part in parts], self._go_on) for name, parts in shares.items()
            }
            step.run(inputs, self)

    def reader(self, table: str) -> Reader:
        """A table that was written."""
        return _Memory(self._tables[table], self._go_on)

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        """Keeps rows, as a part of their own."""
        if rows.num_rows:
            batch = rows.combine_chunks().to_batches()[0] if isinstance(rows, pa.Table) else rows
            self._keep(table, "rows.parquet", batch, batch.nbytes, rows.num_rows)

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        """Keeps a raw part."""
        self._keep(table, name, bytes(content), len(content), rows)

    def roll(self, table: str) -> None:
        """Each write is a part of its own."""

    def enter(self, files: int, size: int) -> None:
        """A call has no ledger: its client sees every row."""

    def _keep(self, table: str, name: str, content: Content, size: int, rows: int) -> None:
        self._go_on()
        self._hold(content)
        kept = self._tables.setdefault(table, [])
        stem, _, kind = name.rpartition(".")
        key = f"{table}-{stem}-{len(kept):x}.{kind}"  # in a dataset it has a digest there, and steps know that form
        kept.append(_Kept(Part(key=key, sha256="", bytes=size, rows=rows), content))


@dataclass(frozen=True)
class _Kept:
    part: Part
    content: Content


class _Memory:
    """Parts as a step reads them."""

    def __init__(self, kept: Sequence[_Kept], go_on: Callable[[], None]) -> None:
        self._kept = kept
        self._go_on = go_on

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for rows in self._contents():
            yield rows if columns is None else rows.select([name for name in columns if name in rows.schema.names])

    def repositories(self) -> Iterator[pa.Table]:
        return repositories(self.batches())

    def table(self) -> pa.Table:
        batches = list(self.batches())
        return pa.Table.from_batches(batches) if batches else pa.table({})

    def blobs(self) -> Iterator[bytes]:
        return self._contents()

    def _contents(self) -> Iterator[Any]:
        for kept in self._kept:
            self._go_on()
            yield kept.content
