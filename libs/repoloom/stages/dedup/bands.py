"""dedup.bands: the pairs of repositories that share a bucket, one task a band."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.errors import CorruptDataError
from repoloom.stages.dedup.banding import best_banding
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import BANDS, CANDIDATES

_ROWS = 65536  # candidates written at a time


class Bands(Step[DedupParams]):
    """Sorts a band by bucket. Holds one band of all repositories: 20 bytes and the name of each."""

    name = "dedup.bands"
    reads = ("bands",)
    writes = {"candidates": CANDIDATES}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        parts = tables["bands"]
        bands = best_banding(self.params.threshold, self.params.slots).bands
        return ({"bands": parts[band::bands]} for band in range(bands if parts else 0))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        rows = pa.Table.from_batches(inputs["bands"].batches(), BANDS)
        if pc.count_distinct(rows["band"]).as_py() != 1:
            raise CorruptDataError("the parts of the bands are out of order: dedup.signatures needs smaller tasks")
        for candidates in candidates_of(rows):
            out.write("candidates", candidates)


def candidates_of(rows: pa.Table) -> Iterator[pa.Table]:
    """The pairs of a band: a bucket of n repositories yields at most 2n - 3, so that no bucket is ever too hot.

    In order of preference, each repository is paired with the first of its bucket, which would survive all others, and
    with the one before it, so that those who belong together still meet where the first is there by chance.
    """
    rows = rows.take(_shared(rows["bucket"].to_numpy()))
    rows = rows.sort_by([("bucket", "ascending"), ("words", "descending"), ("repo", "ascending")])
    bucket, repo = rows["bucket"].to_numpy(), rows["repo"].combine_chunks()
    first = np.searchsorted(bucket, bucket)
    place = np.arange(len(bucket))
    before_last = place[place - first >= 2] - 1
    left = np.concatenate([first[place > first], before_last])
    right = np.concatenate([place[place > first], before_last + 1])
    for start in range(0, len(left), _ROWS):
        yield pa.Table.from_arrays(
            [repo.take(left[start : start + _ROWS]), repo.take(right[start : start + _ROWS])], schema=CANDIDATES
        )


def _shared(buckets: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The positions of the values that are there more than once."""
    order = np.argsort(buckets, kind="stable")
    equal = buckets[order[1:]] == buckets[order[:-1]]
    repeated = np.zeros(len(buckets), bool)
    repeated[1:] |= equal
    repeated[:-1] |= equal
    return order[repeated]
