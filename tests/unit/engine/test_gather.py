"""What commits come to is the same as if they were added up one by one in the plan's order."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count, Ledger, add_up
from repoloom.corpus.manifest import Cut, Manifest, Part
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import FILES
from repoloom.engine.gather import Gathered
from repoloom.engine.log import rows_of
from repoloom.engine.plan import Plan, Table
from repoloom.engine.step import Params, Reader, Shares, Sink, Step
from repoloom.engine.task import Commit, Cost
from repoloom.engine.work import Work
from repoloom.store import open_store

TABLES = ("files", "dropped")
COUNTS = st.builds(Count, items=st.integers(0, 9), size=st.integers(0, 2**40))
NAMES = st.sampled_from(["a", "b", "c"])
LEDGERS = st.builds(
    Ledger,
    entering=COUNTS,
    kept=st.dictionaries(NAMES, st.dictionaries(NAMES, COUNTS, max_size=2), max_size=2),
    dropped=st.dictionaries(NAMES, st.dictionaries(NAMES, COUNTS, max_size=2), max_size=2),
)


class _Each(Step[Params]):
    name = "each"
    reads = ("files",)
    writes: ClassVar = dict.fromkeys(TABLES, FILES)

    def plan(self, tables: Shares, task_bytes: int) -> Iterator[Shares]:  # noqa: ARG002
        return ({"files": [part]} for part in tables["files"])

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        raise NotImplementedError


def _plan(folder: Path, reads: Sequence[int]) -> Plan:
    """A plan of tasks of which those with equal numbers read equal bytes."""
    store = open_store(str(folder))
    parts = [Part(key=f"{at}", sha256=f"{number:064}", bytes=number, rows=1) for at, number in enumerate(reads)]
    cut = Cut(task_bytes=1, tasks=1)
    listing = write_listing(store, "files", columns_of(parts))
    manifest = Manifest(
        step="made", version=1, params={}, inputs={}, tables={"files": listing}, ledger=Ledger(), cut=cut
    )
    return Plan(_Each(Params()), {"files": Table(Dataset(store.uri, manifest), "files")}, str(folder / "out"), 1)


@given(
    reads=st.lists(st.integers(0, 5), max_size=12),
    results=st.lists(st.tuples(LEDGERS, st.integers(0, 3), st.integers(0, 2)), min_size=6, max_size=6),
    arrived=st.lists(st.lists(st.integers(0, 7), max_size=5), max_size=6),
)
def test_commits_in_any_order_and_some_twice_come_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    reads: list[int],
    results: list[tuple[Ledger, int, int]],
    arrived: list[list[int]],
) -> None:
    plan = _plan(tmp_path_factory.mktemp("gather"), reads)
    keys = [plan.key(shares) for shares in plan]
    commits = {
        number: _commit(keys[reads.index(number)] if number in reads else f"{number:032x}", *results[number % 6])
        for number in range(8)
    }
    work = Work(plan)
    gathered = Gathered(work, TABLES)

    for batch in arrived:
        gathered.take(rows_of([commits[number] for number in batch]))

    there = {number for batch in arrived for number in batch}
    in_order = [commits[number] for number in reads if number in there]
    for table in TABLES:
        assert gathered.parts(table).to_pylist() == [
            part.model_dump() for commit in in_order for part in commit.tables[table]
        ]
    assert add_up([gathered.ledger()]) == add_up(commit.ledger for commit in in_order)
    assert (len(work), work.done) == (len(set(reads)), len(there & set(reads)))
    assert (work.bytes, work.bytes_done) == (sum(set(reads)), sum(there & set(reads)))
    missing = [task.key for task in work.missing(plan)]
    assert missing == list(dict.fromkeys(key for key, number in zip(keys, reads, strict=True) if number not in there))


def _commit(task: str, ledger: Ledger, files: int, dropped: int) -> Commit:
    tables = {
        table: tuple(Part(key=f"{task}/{table}-{n}", sha256=task * 2, bytes=n, rows=1) for n in range(count))
        for table, count in (("files", files), ("dropped", dropped), ("other", 1))
    }
    return Commit(task=task, tables=tables, ledger=ledger, cost=Cost(seconds=1, cpu_seconds=1, peak_memory=1))
