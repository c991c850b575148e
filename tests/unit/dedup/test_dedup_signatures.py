"""The chain between the signatures and the alarms, on signatures that no text need have."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from dedup.synthetic import signatures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoloom.corpus.dataset import Dataset
from repoloom.engine.pool import Limits, LocalPool
from repoloom.stages.dedup.candidates import WINDOW

Resolve = Callable[..., dict[str, Dataset]]
THRESHOLD = 0.6


@dataclass(frozen=True)
class Repository:
    repo: str
    words: int
    shingles: frozenset[int]
    buckets: tuple[int, ...]

    def similarity(self, other: "Repository") -> float:
        return len(self.shingles & other.shingles) / len(self.shingles | other.shingles)


def table_of(repositories: Sequence[Repository]) -> pa.Table:
    return signatures(
        [one.repo for one in repositories],
        [one.words for one in repositories],
        [sorted(one.shingles) for one in repositories],
        [one.buckets for one in repositories],
    )


def rows_of(dataset: Dataset, table: str) -> list[dict[str, Any]]:
    return [row for batch in dataset.batches(table) for row in batch.to_pylist()]


_SOURCES = ("git", "pypi", "npm")

# small enough that every bucket is paired in full, and then the chain is the plain rule
corpora = st.lists(
    st.tuples(
        st.sampled_from(_SOURCES),
        st.integers(1, 3),
        st.frozensets(st.integers(0, 7), min_size=1),
        st.lists(st.sampled_from([0, 1 << 61, 1 << 62, (1 << 64) - 1]), max_size=3, unique=True),
    ),
    min_size=1,
    max_size=2 * WINDOW + 1,
).map(
    lambda rows: [
        Repository(f"{source}/{number}", words, shingles, tuple(buckets))
        for number, (source, words, shingles, buckets) in enumerate(rows)
    ]
)


def plain_rule(repositories: Sequence[Repository]) -> dict[str, Repository]:
    """The survivor of each."""
    survivor: dict[str, Repository] = {}
    order = sorted(repositories, key=lambda one: (-one.words, one.repo))
    for one in order:
        survivor[one.repo] = next(
            (other for other in order if other.repo in survivor and survivor[other.repo] is other and near(one, other)),
            one,
        )
    return survivor


def near(one: Repository, other: Repository) -> bool:
    return bool(set(one.buckets) & set(other.buckets)) and one.similarity(other) >= THRESHOLD


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corpora, st.integers(1, 4), st.sampled_from([1, 4000, 1 << 30]))
def test_clusters_and_alarms_are_those_of_the_plain_rule(
    resolve_signatures: Resolve, repositories: list[Repository], parts: int, task_bytes: int
) -> None:
    survivor = plain_rule(repositories)
    removed = {one.repo: one for one in repositories if survivor[one.repo] is not one}
    given_parts = [part for start in range(parts) if (part := repositories[start::parts])]
    made = resolve_signatures(*map(table_of, given_parts), task_bytes=task_bytes, sketch=64, threshold=THRESHOLD)

    rows = rows_of(made["dedup.clusters"], "clusters")
    assert len(rows) == len({row["repo"] for row in rows})
    members = {row["repo"]: row for row in rows if row["repo"] != row["survivor"]}
    assert {repo: row["survivor"] for repo, row in members.items()} == {repo: survivor[repo].repo for repo in removed}
    for repo, row in members.items():
        one = removed[repo]
        assert (row["similarity"], row["error"], row["words"]) == (one.similarity(survivor[repo]), 0, one.words)
        lefts = [o for o in repositories if near(one, o) and (-o.words, o.repo) < (-one.words, one.repo)]
        closest = min(lefts, key=lambda other: (-one.similarity(other), -other.words, other.repo))
        assert (row["linked"], row["linked_similarity"]) == (closest.repo, one.similarity(closest))
    heads = {row["survivor"]: row for row in rows if row["repo"] == row["survivor"]}
    assert set(heads) == {survivor[repo].repo for repo in removed}
    assert all(row["cluster"] == heads[row["survivor"]]["cluster"] for row in rows)
    by_number = sorted(heads.values(), key=lambda row: row["cluster"])
    assert [row["cluster"] for row in by_number] == list(range(len(heads)))
    assert [row["words"] for row in by_number] == sorted((row["words"] for row in by_number), reverse=True)

    alarmed = [
        s
        for s in sorted(_SOURCES)
        if (of := [o.repo for o in repositories if o.repo.startswith(s + "/")]) and removed.keys() >= set(of)
    ]
    assert [row["source"] for row in rows_of(made["dedup.alarms"], "alarms")] == alarmed


def test_the_rows_are_the_same_however_the_work_is_cut(resolve_signatures: Resolve) -> None:
    repositories = many(random.Random(0), 600)
    found = []
    for order, parts, task_bytes in ((1, 1, 1 << 30), (2, 7, 1), (3, 12, 1), (4, 12, 20_000)):
        random.Random(order).shuffle(repositories)
        made = resolve_signatures(
            *(table_of(repositories[start::parts]) for start in range(parts)), task_bytes=task_bytes, sketch=64
        )
        tables = {table: rows_of(made[f"dedup.{table}"], table) for table in ("clusters", "alarms")}
        found.append({table: sorted(map(repr, rows)) for table, rows in tables.items()})
    assert len(found[0]["clusters"]) > 100
    assert all(one == found[0] for one in found)


def many(draw: random.Random, count: int) -> list[Repository]:
    """Copies of copies, in buckets that many share: hotter than is paired in full."""
    made: list[Repository] = []
    for number in range(count):
        shingles = set(draw.choice(made).shingles) if number % 10 else set(draw.sample(range(1 << 40), 50))
        for old in draw.sample(sorted(shingles), draw.choice([0, 1, 2, 5])):
            shingles.remove(old)
            shingles.add(draw.randrange(1 << 40))
        buckets = tuple(min(hash((band, one)) & ((1 << 64) - 1) for one in shingles) for band in range(4))
        made.append(Repository(f"git/{number:05}", draw.randint(40, 60), frozenset(shingles), buckets))
    return made


def test_hot_buckets_among_many_repositories_stay_within_small_tasks(resolve_signatures: Resolve) -> None:
    """Of 100,000 repositories 30,000 are copies of one, and as many share a bucket without being alike."""
    count, hot, size = 100_000, 30_000, 64
    draw = np.random.default_rng(0)
    sketches = np.sort(draw.integers(0, 1 << 63, (count, size), np.uint64), axis=1)
    sketches[:hot] = sketches[0]
    buckets = draw.integers(0, 1 << 63, (count, 4), np.uint64)
    buckets[:hot] = buckets[0]
    buckets[hot : 2 * hot, 0] = buckets[hot, 0]
    order = draw.permutation(count)
    parts = [
        signatures(
            [f"git/{number:06}" for number in some],
            [100] * len(some),
            list(sketches[some]),
            list(buckets[some]),
        )
        for some in np.array_split(order, 50)
    ]
    with LocalPool(1, Limits(memory_bytes=448 << 20)) as pool:
        made = resolve_signatures(*parts, task_bytes=8 << 20, pool=pool, sketch=size)
    removals = sum(part.rows for part in made["dedup.clusters"].parts("removals"))
    assert removals == hot - 1
    pairs = sum(part.rows for part in made["dedup.candidates"].parts("candidates"))
    assert pairs < 2 * WINDOW * (4 * hot + hot)


def test_a_quarantined_step_is_never_taken_for_one_that_found_nothing() -> None:
    """The tables that ids are places in, and the evidence, are read as sides, which must be whole."""
    from repoloom.stages import dedup

    sides: Mapping[str, tuple[str, ...]] = {step.name: step.reads[1:] for step in dedup.STEPS}
    assert "signatures" in sides["dedup.bands"]
    assert {"places", "signatures"} <= {*sides["dedup.fetch"]} & {*sides["dedup.verify"]}
    assert "evidence" in sides["dedup.clusters"]
    assert {"extents", "removals"} <= {*sides["dedup.survivors"]}
