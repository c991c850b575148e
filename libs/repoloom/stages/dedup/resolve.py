"""dedup.resolve: who is removed for whom, from the similar pairs as numbers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from repoloom.engine.step import Queue, Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import MOST_PARTITIONS, Ids, Indices, partitions_of, rows_of
from repoloom.stages.dedup.routing import Router, received
from repoloom.stages.dedup.tables import EDGES, VERDICTS


class Resolve(Step[DedupParams]):
    """One task over all edges, which it reads five times and does not hold.

    It holds a byte for each repository, 40 bytes for each cluster, and 48 for each edge between two that others are
    preferred to, where that does not decide itself. So 10 TB of code, if that is 10^8 repositories of 100 kB, and a
    tenth of them heads of clusters, are 100 MB and 400 MB.
    """

    name = "dedup.resolve"
    reads = ("similar",)
    writes = {"verdicts": None}
    queue = Queue.HIGHMEM

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{"similar": tables["similar"]}] if len(tables["similar"]) else []

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        from repoloom.stages.dedup.verdicts import HEADS, SURVIVES, removals

        edges = _Edges(inputs["similar"])
        states = edges.decided()
        heads = [EDGES.empty_table()]
        for rows, rights, lefts in edges:
            chosen, opens = removals(states, rights, lefts)
            heads.append(rows.take(chosen[opens]))
        numbers = _number_clusters(pa.concat_tables(heads))
        states[states == HEADS] = SURVIVES
        router = Router(out, "verdicts")
        for rows, rights, lefts in edges:
            chosen, opens = removals(states, rights, lefts)
            some = rows.take(chosen)
            columns = {
                "right": some["right"],
                "left": some["left"],
                "cluster": numbers.of(some["left"].to_numpy()),
                "first": opens,
            }
            router.send(pa.table(columns, VERDICTS), partitions_of(some["right"].to_numpy()))
        router.flush()


class _Edges:
    """The edges, some at a time: (rows, rights, lefts), where repositories are numbered in the order of their ids."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        sizes = np.zeros(MOST_PARTITIONS, np.int64)
        for rows in received(reader):
            for name in ("right", "left"):
                ids = rows[name].to_numpy()
                np.maximum.at(sizes, partitions_of(ids), rows_of(ids) + 1)
        self._starts = np.cumsum(sizes) - sizes
        self._count = int(sizes.sum())

    def __iter__(self) -> Iterator[tuple[pa.Table, Indices, Indices]]:
        for rows in received(self._reader):
            yield rows, self._number(rows["right"].to_numpy()), self._number(rows["left"].to_numpy())

    def _number(self, ids: Ids) -> Indices:
        numbers: Indices = self._starts[partitions_of(ids)] + rows_of(ids)
        return numbers

    def decided(self) -> npt.NDArray[np.uint8]:
        """The state of each repository."""
        from repoloom.stages.dedup.verdicts import UNDECIDED, decide, settle

        states = np.zeros(self._count, np.uint8)
        for _, rights, _ in self:
            states[rights] = UNDECIDED
        waiting = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for _, rights, lefts in self:
            open_edges = settle(states, rights, lefts)
            waiting.append((rights[open_edges], lefts[open_edges]))
        decide(states, *(np.concatenate(column) for column in zip(*waiting, strict=True)))
        return states


def _number_clusters(heads: pa.Table) -> "_ClusterNumbers":
    """Clusters in the order of their survivors' words, then of their names' digests, for the names are not here."""
    order = np.lexsort([heads["left"].to_numpy(), heads["left_digest"].to_numpy(), -heads["left_words"].to_numpy()])
    ids = heads["left"].to_numpy()
    by_id = np.argsort(ids)
    numbers = np.empty(len(ids), np.int64)
    numbers[order] = np.arange(len(ids))
    return _ClusterNumbers(ids[by_id], numbers[by_id])


class _ClusterNumbers(NamedTuple):
    survivors: Ids  # ascending
    numbers: Indices

    def of(self, survivors: Ids) -> Indices:
        """The number of each one's cluster."""
        numbers: Indices = self.numbers[np.searchsorted(self.survivors, survivors)]
        return numbers
