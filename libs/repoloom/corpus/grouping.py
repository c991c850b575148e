"""Rows by repository: all rows of one repository are contiguous, in a table as in a stream."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc


def repositories(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows of one repository at a time."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        for run in runs(batch):
            if held and held[0]["repo"][0] != run["repo"][0]:
                yield pa.Table.from_batches(held)
                held = []
            held.append(run)
    if held:
        yield pa.Table.from_batches(held)


def runs(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cuts a batch where the repository changes."""
    start = 0
    for end in pc.run_end_encode(batch["repo"]).run_ends.to_pylist():
        yield batch.slice(start, end - start)
        start = end
