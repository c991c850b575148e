"""dedup.clusters: the evidence for each removal."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.partitions import partitions_of
from repoloom.stages.dedup.routing import destinations, received, send
from repoloom.stages.dedup.sources import source_of
from repoloom.stages.dedup.tables import CLUSTERS, EVIDENCE, LOSSES, REMOVALS, VERDICTS

NAMED_SURVIVORS: Final = 3
"""Survivors that a source which loses a repository names."""


class Clusters(Step[DedupParams]):
    """A task for each partition. Holds what is known of its edges, some 300 bytes each."""

    name = "dedup.clusters"
    reads = ("verdicts", "evidence")
    writes = {"clusters": CLUSTERS, "removals": None, "losses": LOSSES}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        evidence = destinations(tables["evidence"])
        for partition, parts in destinations(tables["verdicts"]).items():
            yield {"verdicts": parts, "evidence": evidence[partition]}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        evidence = pa.concat_tables([EVIDENCE.empty_table(), *received(inputs["evidence"])])
        verdicts = pa.concat_tables([VERDICTS.empty_table(), *received(inputs["verdicts"])])
        removed = _removed(evidence, verdicts)
        out.write("clusters", _rows(removed))
        removals = {"repo": removed["repo"], "survivor": removed["left_repo"], "similarity": removed["similarity"]}
        partition = int(partitions_of(removed["right"].to_numpy()[:1])[0])
        send(out, "removals", pa.table(removals, REMOVALS), partition)
        out.write("losses", _losses(removed))


def _removed(evidence: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The evidence for each verdict, with the verdict and the most similar left of each."""
    right, left, similarity = (evidence[name].to_numpy() for name in ("right", "left", "similarity"))
    begins = np.searchsorted(right, verdicts["right"].to_numpy())
    at = np.minimum(np.searchsorted(verdicts["right"].to_numpy(), right), len(verdicts) - 1)
    chosen = (verdicts["right"].to_numpy()[at] == right) & (verdicts["left"].to_numpy()[at] == left)
    closest = np.lexsort([-similarity, right])[begins]  # stable: of equals the preferred one
    columns = {
        "cluster": verdicts["cluster"],
        "first": verdicts["first"],
        "linked": evidence["left_repo"].take(closest),
        "linked_similarity": evidence["similarity"].take(closest),
    }
    removed = evidence.filter(chosen)
    for name, column in columns.items():
        removed = removed.append_column(name, column)
    return removed


def _rows(removed: pa.Table) -> pa.Table:
    """The rows of CLUSTERS: those that are removed, and before the first of a cluster its survivor."""
    members = removed.rename_columns({"left_repo": "survivor"}).select(CLUSTERS.names).cast(CLUSTERS)
    opening = np.flatnonzero(removed["first"].to_numpy())
    opened = removed.take(opening)
    count = len(opened)
    survivors = {
        "cluster": opened["cluster"],
        "repo": opened["left_repo"],
        "survivor": opened["left_repo"],
        "similarity": np.ones(count),
        "error": np.zeros(count),
        "linked": opened["left_repo"],
        "linked_similarity": np.ones(count),
        "bytes": opened["left_bytes"],
        "words": opened["left_words"],
        "shared": [[]] * count,
    }
    place = np.concatenate([opening - 0.5, np.arange(len(members))])
    return pa.concat_tables([pa.table(survivors, CLUSTERS), members]).take(np.argsort(place))


def _losses(removed: pa.Table) -> pa.Table:
    lost: dict[str, list[str]] = {}
    for repo, survivor in zip(removed["repo"].to_pylist(), removed["left_repo"].to_pylist(), strict=True):
        lost.setdefault(source_of(repo), []).append(survivor)
    rows = [
        {"source": source, "removed": len(survivors), "survivors": sorted(set(survivors))[:NAMED_SURVIVORS]}
        for source, survivors in sorted(lost.items())
    ]
    return pa.Table.from_pylist(rows, LOSSES)
