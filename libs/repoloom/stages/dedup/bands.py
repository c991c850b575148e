"""dedup.bands: sends each repository's buckets to where all that share one meet, and numbers the repositories."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.numbers import read_numbers, spell
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import Ids, Indices, cut, ids_of
from repoloom.stages.dedup.routing import Router
from repoloom.stages.dedup.sources import count_sources
from repoloom.stages.dedup.tables import BANDED, SOURCES

_UPPER = np.uint64(32)


class Bands(Step[DedupParams]):
    """A task for each partition of the signatures; the buckets' partitions are as many."""

    name = "dedup.bands"
    version = 2
    reads = ("numbers", "signatures")  # ids are places in the signatures, so these must be whole
    writes = {"banded": None, "places": None, "extents": None, "signed": SOURCES}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:
        partitions = cut(tables["signatures"], task_bytes)
        for partition, parts in enumerate(partitions):
            yield {"signatures": parts, "numbers": spell(tables["numbers"], partition, len(partitions))}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        partition, partitions = read_numbers(inputs["numbers"])
        router = Router(out, "banded")
        sources: Counter[str] = Counter()
        repositories = documents = 0
        for batch in inputs["signatures"].batches(["repo", "documents", "words", "buckets"]):
            ids = ids_of(partition, repositories, repositories + len(batch))
            rows = _banded(batch, ids)
            router.send(rows, _meeting_places(rows["bucket"].to_numpy(), partitions))
            sources.update(count_sources(batch["repo"].to_pylist()))
            repositories += len(batch)
            documents += pc.sum(batch["documents"]).as_py()
        router.flush()
        for table, rows in (("places", repositories), ("extents", documents)):
            out.blob(table, f"{partition:04}-0000.arrow", b"", rows)
        out.write(
            "signed",
            pa.Table.from_pylist(
                [{"source": source, "repositories": count} for source, count in sorted(sources.items())], SOURCES
            ),
        )


def _banded(batch: pa.RecordBatch, ids: Ids) -> pa.Table:
    """A row for each bucket of each repository."""
    repository = pc.list_parent_indices(batch["buckets"])
    columns = {
        "bucket": pc.list_flatten(batch["buckets"]),
        "words": batch["words"].take(repository),
        "id": pa.array(ids).take(repository),
        "repo": batch["repo"].take(repository),
    }
    return pa.table(columns, BANDED)


def _meeting_places(buckets: Ids, partitions: int) -> Indices:
    """Buckets are hashes, so equal ranges of them are equally full."""
    return ((buckets >> _UPPER) * np.uint64(partitions) >> _UPPER).astype(np.int64)
