"""dedup.fetch: sends sketches to the partitions that hold what they are compared with."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import residents, rows_of
from repoloom.stages.dedup.routing import Router, destinations, received_pairs
from repoloom.stages.dedup.tables import SHIPPED

_ROWS = 1024  # sketches copied at a time


class Fetch(Step[DedupParams]):
    """Reads a partition's signatures once. A sketch travels once to each partition where it is wanted."""

    name = "dedup.fetch"
    reads = ("requests", "places", "signatures")
    writes = {"shipped": None}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        requests = destinations(tables["requests"])
        for partition, parts in enumerate(residents(tables["signatures"], tables["places"])):
            if partition in requests:
                yield {"requests": requests[partition], "signatures": parts}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        left, wanted = received_pairs(inputs["requests"], "left", "to")
        to = wanted.astype(np.int64)
        rows = rows_of(left)
        router = Router(out, "shipped")
        start = 0
        for batch in inputs["signatures"].batches(["repo", "words", "bytes", "sketch", "landmarks"]):
            some = slice(*np.searchsorted(rows, [start, start + len(batch)]))
            for at in range(some.start, some.stop, _ROWS):
                few = slice(at, min(at + _ROWS, some.stop))
                found = pa.Table.from_batches([batch]).take(rows[few] - start)
                router.send(found.add_column(0, SHIPPED.field("left"), pa.array(left[few])).cast(SHIPPED), to[few])
            start += len(batch)
        router.flush()
