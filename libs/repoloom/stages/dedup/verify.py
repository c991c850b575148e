"""dedup.verify: compares the candidates' sketches, and keeps the pairs that are similar enough."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import Ids, Indices, partitions_of, residents, rows_of
from repoloom.stages.dedup.routing import destinations, received, received_pairs, send
from repoloom.stages.dedup.tables import EDGES, EVIDENCE

SHARED_FILES = 3
"""Files that a removed repository has in common with its survivor, named as evidence."""

_BLOCK_BYTES = 64 << 20  # sketches from elsewhere that are held at a time
_PREFERENCE = [("right", "ascending"), ("left_words", "descending"), ("left_repo", "ascending")]


class Verify(Step[DedupParams]):
    """A task for each partition, which has the pairs whose less preferred one lies there.

    It reads the partition's signatures once for each block of sketches that came from elsewhere, and holds one block,
    a few MiB of signatures, and its pairs.
    """

    name = "dedup.verify"
    reads = ("candidates", "shipped", "places", "signatures")
    writes = {"similar": None, "evidence": None}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        candidates, shipped = destinations(tables["candidates"]), destinations(tables["shipped"])
        for partition, parts in enumerate(residents(tables["signatures"], tables["places"])):
            if partition in candidates:
                yield {"candidates": candidates[partition], "shipped": shipped[partition], "signatures": parts}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        lefts, rights = received_pairs(inputs["candidates"], "left", "right")
        found = [EVIDENCE.empty_table()]
        for block in _blocks(inputs["shipped"]):
            places, of = _pairs_with(block["left"].to_numpy(), lefts, rights)
            start = 0
            for batch in inputs["signatures"].batches(["repo", "words", "bytes", "sketch", "landmarks"]):
                here = slice(*np.searchsorted(rows_of(of), [start, start + len(batch)]))
                found.append(self._compare(block, places[here], batch, rows_of(of[here]) - start, of[here]))
                start += len(batch)
        evidence = pa.concat_tables(found).sort_by(_PREFERENCE)
        if len(evidence):
            partition = int(partitions_of(rights[:1])[0])
            send(out, "similar", _edges(evidence), partition)
            send(out, "evidence", evidence, partition)

    def _compare(
        self, block: pa.Table, left_rows: Indices, batch: pa.RecordBatch, right_rows: Indices, rights: Ids
    ) -> pa.Table:
        """The evidence for the pairs (row of the block, row of the batch) that are similar enough."""
        from repoloom.stages.dedup.similarity import compare_rows

        size = self.params.sketch
        (hashes, ends), (its_hashes, its_ends) = _flat(batch["sketch"]), _flat(block["sketch"])
        both, seen = compare_rows(its_hashes, its_ends, left_rows, hashes, ends, right_rows, size)
        similar = both / seen >= self.params.threshold
        left_rows, right_rows, both, seen = left_rows[similar], right_rows[similar], both[similar], seen[similar]
        similarity = both / seen
        exact = (np.diff(its_ends)[left_rows] < size) & (np.diff(ends)[right_rows] < size)
        left = block.drop_columns(["sketch"]).take(left_rows)  # there are far more pairs than sketches
        right = pa.Table.from_batches([batch]).drop_columns(["sketch"]).take(right_rows)
        columns = {
            "right": rights[similar],
            "left": left["left"],
            "repo": right["repo"],
            "left_repo": left["repo"],
            "words": right["words"],
            "left_words": left["words"],
            "bytes": right["bytes"],
            "left_bytes": left["bytes"],
            "similarity": similarity,
            "error": np.where(exact, 0.0, np.sqrt(similarity * (1 - similarity) / seen)),
            "shared": list(map(_shared, right["landmarks"], left["landmarks"])),
        }
        return pa.table(columns, EVIDENCE)


def _blocks(shipped: Reader) -> Iterator[pa.Table]:
    """What came from elsewhere, some of it at a time."""
    held: list[pa.Table] = []
    for rows in received(shipped):
        held.append(rows)
        if sum(one.nbytes for one in held) >= _BLOCK_BYTES:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _pairs_with(here: Ids, lefts: Ids, rights: Ids) -> tuple[Indices, Ids]:
    """The pairs whose left is here, in the order of the right: (the left's place here, the right)."""
    order = np.argsort(here)
    place = np.minimum(np.searchsorted(here[order], lefts), len(here) - 1)
    match = here[order][place] == lefts
    rights = rights[match]
    by_right = np.argsort(rights, kind="stable")
    return order[place[match]][by_right], rights[by_right]


def _flat(sketches: pa.ListArray | pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], Indices]:
    """The hashes of all, and where each one's begin and end."""
    if isinstance(sketches, pa.ChunkedArray):
        (sketches,) = sketches.chunks
    return sketches.values.to_numpy(), sketches.offsets.to_numpy().astype(np.int64)


def _edges(evidence: pa.Table) -> pa.Table:
    names = evidence["left_repo"].to_pylist()
    digests = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") for name in names]
    columns = {**{name: evidence[name] for name in ("right", "left", "left_words")}, "left_digest": digests}
    return pa.table(columns, EDGES)


def _shared(mine: pa.ListScalar, its: pa.ListScalar) -> list[dict[str, str]]:
    """Files that both have, word for word."""
    paths = {file["digest"]: file["path"] for file in its.as_py()}
    both = [file for file in mine.as_py() if file["digest"] in paths][:SHARED_FILES]
    return [{"path": file["path"], "survivor_path": paths[file["digest"]]} for file in both]
