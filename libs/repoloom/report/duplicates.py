"""Near-duplicates: the clusters of repositories, the evidence for each removal, and the sources wiped out."""

from collections.abc import Mapping
from typing import Any

from repoloom.corpus.manifest import Record
from repoloom.report.limits import Limits
from repoloom.report.tables import Tables


class Shared(Record):
    """Two files that are equal word for word."""

    path: str
    survivor_path: str


class Member(Record):
    """A repository that was removed."""

    repo: str
    similarity: float
    error: float  # standard error of the similarity, 0 where it is exact
    linked: str  # the candidate that it is most similar to
    linked_similarity: float
    bytes: int
    shared: tuple[Shared, ...]


class Cluster(Record):
    """A survivor and those that were removed for it."""

    survivor: str
    bytes: int
    removed: int
    members: tuple[Member, ...]  # some of the removed


class Alarm(Record):
    """A source of which not one repository is left."""

    source: str
    repositories: int
    survivors: tuple[str, ...]


class Duplicates(Record):
    """What deduplication found."""

    threshold: float | None
    repositories: int  # compared
    clusters: int
    removed: int
    shown: tuple[Cluster, ...]
    alarms: tuple[Alarm, ...]


def duplicates(tables: Tables, limits: Limits) -> Duplicates | None:
    """What the tables say; None where there was no deduplication. Holds the clusters it shows and no other."""
    holder = tables.holder("clusters")
    if holder is None:
        return None
    clusters = removed = 0
    shown: dict[int, list[dict[str, Any]]] = {}
    removals: dict[int, int] = {}
    for row in tables.rows("clusters", [*Member.model_fields, "cluster", "survivor"]):
        number = row["cluster"]
        is_removed = row["repo"] != row["survivor"]
        clusters = max(clusters, number + 1)
        removed += is_removed
        if number >= limits.clusters:  # they are numbered by size, but lie wherever their first member does
            continue
        removals[number] = removals.get(number, 0) + is_removed
        rows = shown.setdefault(number, [])
        if not is_removed or len(rows) <= limits.members:
            rows.append(row)
    threshold = holder.manifest.params.get("threshold")
    return Duplicates(
        threshold=float(threshold) if isinstance(threshold, int | float) else None,
        repositories=tables.count("signatures") or 0,
        clusters=clusters,
        removed=removed,
        shown=tuple(_cluster(rows, removals[number], limits) for number, rows in sorted(shown.items())),
        alarms=tuple(Alarm(**row) for row in tables.rows("alarms", list(Alarm.model_fields))),
    )


def _cluster(rows: list[dict[str, Any]], removed: int, limits: Limits) -> Cluster:
    survivor = next((row for row in rows if row["repo"] == row["survivor"]), rows[0])
    members = [row for row in rows if row["repo"] != row["survivor"]][: limits.members]
    return Cluster(
        survivor=survivor["survivor"],
        bytes=survivor["bytes"],
        removed=removed,
        members=tuple(_member(row) for row in members),
    )


def _member(row: Mapping[str, Any]) -> Member:
    return Member(**{name: row[name] for name in Member.model_fields})
