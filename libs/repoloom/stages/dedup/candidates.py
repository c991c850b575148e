"""dedup.candidates: the pairs of repositories that share a bucket, a task for each range of buckets."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import Ids, Indices, distinct, partitions_of
from repoloom.stages.dedup.routing import Router, destinations, received
from repoloom.stages.dedup.tables import BANDED, CANDIDATES, REQUESTS

WINDOW: Final = 4
"""Each repository of a bucket is paired with so many at its head, and so many right before it. The head would survive
all others; those before it are there for buckets whose head is there by chance. A bucket of up to 2 * WINDOW + 1 is
paired in full. Larger windows find hardly more: see the recall that tests/benchmarks/dedup_scale.py prints."""


class Candidates(Step[DedupParams]):
    """Sorts a range of buckets. A bucket of n repositories yields less than 2 * WINDOW * n pairs: none is too hot."""

    name = "dedup.candidates"
    reads = ("banded",)
    writes = {"candidates": None, "requests": None}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return ({"banded": parts} for parts in destinations(tables["banded"]).values())

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        candidates, requests = Router(out, "candidates"), Router(out, "requests")
        for left, right in pairs_of(pa.concat_tables([BANDED.empty_table(), *received(inputs["banded"])])):
            to = partitions_of(right)
            candidates.send(pa.table({"left": left, "right": right}, CANDIDATES), to)
            wanted = distinct(left, to.astype(np.uint64))
            requests.send(pa.table({"left": wanted[0], "to": wanted[1]}, REQUESTS), partitions_of(wanted[0]))
        candidates.flush()
        requests.flush()


def pairs_of(rows: pa.Table) -> Iterator[tuple[Ids, Ids]]:
    """The pairs of ids, the preferred one on the left: the one of more words, then the one whose name comes first."""
    rows = rows.take(_shared(rows["bucket"].to_numpy()))
    rows = rows.sort_by([("bucket", "ascending"), ("words", "descending"), ("repo", "ascending")])
    bucket, ids = rows["bucket"].to_numpy(), rows["id"].to_numpy()
    first = np.searchsorted(bucket, bucket)
    place = np.arange(len(bucket))
    for step in range(WINDOW):
        head = place[first + step < place]
        yield ids[first[head] + step], ids[head]
        tail = place[place - step - 1 >= first + WINDOW]
        yield ids[tail - step - 1], ids[tail]


def _shared(buckets: Ids) -> Indices:
    """The positions of the values that are there more than once."""
    order = np.argsort(buckets, kind="stable")
    equal = buckets[order[1:]] == buckets[order[:-1]]
    repeated = np.zeros(len(buckets), bool)
    repeated[1:] |= equal
    repeated[:-1] |= equal
    return order[repeated]
