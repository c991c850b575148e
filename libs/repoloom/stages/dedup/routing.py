"""Rows on their way to a partition: a raw part for each destination, whose name says which that is."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from repoloom.corpus.manifest import Part
from repoloom.engine.step import Reader, Sink
from repoloom.stages.dedup.partitions import Ids, Indices, distinct

SPILL_BYTES: Final = 32 << 20
"""Rows that a task holds back before it writes them: large enough that parts are, small beside a worker's memory."""

_NAME: Final = re.compile(r"-(\d{4,})-\d{4,}-[0-9a-f]+\.arrow$")
_COMPRESSION: Final = pa.ipc.IpcWriteOptions(compression="zstd")


class Router:
    """Sends rows of one table to partitions. Holds SPILL_BYTES of them, and twice that while it writes."""

    def __init__(self, out: Sink, table: str) -> None:
        self._out = out
        self._table = table
        self._rows: list[pa.Table] = []
        self._partitions: list[Indices] = []
        self._held = 0
        self._spills = 0

    def send(self, rows: pa.Table, partitions: Indices) -> None:
        """Sends each row to a partition. Rows for one partition stay in order."""
        self._rows.append(rows)
        self._partitions.append(partitions)
        self._held += rows.nbytes + partitions.nbytes
        if self._held >= SPILL_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is held. A task ends with it."""
        if not self._rows:
            return
        partitions = np.concatenate(self._partitions)
        order = np.argsort(partitions, kind="stable")
        partitions = partitions[order]
        rows = pa.concat_tables(self._rows).take(order).combine_chunks()
        cuts = np.flatnonzero(np.diff(partitions, prepend=-1, append=-1)).tolist()
        for start, stop in itertools.pairwise(cuts):
            send(self._out, self._table, rows.slice(start, stop - start), int(partitions[start]), self._spills)
        self._rows, self._partitions, self._held = [], [], 0
        self._spills += 1


def send(out: Sink, table: str, rows: pa.Table, partition: int, number: int = 0) -> None:
    """Writes rows for one partition as one part, of which a task may write several, numbered."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema, options=_COMPRESSION) as stream:
        stream.write_table(rows.combine_chunks())
    out.blob(table, f"{partition:04}-{number:04}.arrow", memoryview(buffer.getvalue()), rows.num_rows)


def destinations(parts: Sequence[Part]) -> dict[int, list[Part]]:
    """The parts for each partition, the first partition first."""
    found: dict[int, list[Part]] = {}
    for part in parts:
        name = _NAME.search(part.key)
        if name is None:
            raise ValueError(f"{part.key} does not say which partition it is for")
        found.setdefault(int(name[1]), []).append(part)
    return dict(sorted(found.items()))


def received(reader: Reader) -> Iterator[pa.Table]:
    """The rows that were sent, a part at a time."""
    for content in reader.blobs():
        yield pa.ipc.open_stream(content).read_all()


def received_pairs(reader: Reader, one: str, other: str) -> tuple[Ids, Ids]:
    """The distinct pairs of two columns of what was sent, in their order. What comes doubly is not held."""
    pairs = np.empty(0, np.uint64), np.empty(0, np.uint64)
    for rows in received(reader):
        new = rows[one].to_numpy(), rows[other].to_numpy()
        pairs = distinct(np.concatenate([pairs[0], new[0]]), np.concatenate([pairs[1], new[1]]))
    return pairs
