"""The log holds every commit that it was given, in few segments, and nothing that is not one."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.manifest import Part
from repoloom.engine import log as module
from repoloom.engine.log import CommitLog, parts_of
from repoloom.engine.task import Commit, Cost
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store


def _commit(number: int) -> Commit:
    key = hashlib.sha256(b"%d" % number).hexdigest()
    part = Part(key=f"tasks/{key[:32]}/files-000.parquet", sha256=key, bytes=number, rows=1)
    ledger = Ledger(kept={"files": {"C": Count(items=1, size=number)}})
    cost = Cost(seconds=1.5, cpu_seconds=0.5, peak_memory=number)
    return Commit(task=key[:32], tables={"files": (part,), "dropped": ()}, ledger=ledger, cost=cost)


def _logged(store: Store) -> list[str]:
    return [task.hex() for rows in CommitLog(store).segments() for task in rows["task"].to_pylist()]


def _write(store: Store, *numbers: int) -> None:
    log = CommitLog(store)
    for number in numbers:
        log.add(_commit(number))
    log.flush()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL", 10)
    monkeypatch.setattr(module, "_SMALL", 3)


@pytest.mark.usefixtures("small")
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=40))
def test_whatever_is_added_is_logged_once_in_few_segments(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, bool]]
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("log")))
    log = CommitLog(store)
    number = 0
    for size, again in batches:
        for _ in range(size):
            log.add(_commit(number))
            number += 1
        assert log.flush().num_rows == size
        if again:  # another run goes on
            log = CommitLog(store)
            list(log.segments())
    assert sorted(_logged(store)) == sorted(_commit(n).task for n in range(number))
    assert len(list(store.list("log"))) <= 3 + number / 10


def test_a_segment_says_what_the_commits_say(store: Store) -> None:
    _write(store, 7)
    ((row,),) = (rows.to_pylist() for rows in CommitLog(store).segments())
    commit = _commit(7)
    assert row == {
        "task": bytes.fromhex(commit.task),
        "parts": [{"table": "files", **commit.tables["files"][0].model_dump()}],
        "counts": [
            {"side": "entering", "name": "", "language": "", "items": 0, "size": 0},
            {"side": "kept", "name": "files", "language": "C", "items": 1, "size": 7},
        ],
        **commit.cost.model_dump(exclude={"read_bytes"}),
    }


def test_a_short_log_is_written_often_and_a_long_one_seldom(store: Store) -> None:
    log = CommitLog(store)
    flushes = []
    for number in range(1000):
        log.add(_commit(number))
        if log.is_due:
            flushes.append(log.flush().num_rows)
    assert flushes[:4] == [16, 16, 16, 16]
    assert flushes == sorted(flushes)
    assert flushes[-1] > 100


def test_what_others_put_beside_the_log_is_left_alone(store: Store, tmp_path: Path) -> None:
    _write(store, 1)
    for name in ("notes.txt", "000001.parquet", f"{'0' * 64}-1.parquet.tmp", f"{'0' * 64}.parquet"):
        (tmp_path / "log" / name).write_bytes(b"mine")
    assert _logged(store) == [_commit(1).task]
    assert CommitLog(store).keep({bytes.fromhex(_commit(1).task): parts_of(_commit(1))}) == 0
    assert len(list((tmp_path / "log").iterdir())) == 5


@pytest.mark.parametrize("harm", [lambda whole: whole[:-1], lambda _: b"", lambda whole: whole + b"x"])
def test_a_segment_that_is_not_what_was_written_is_refused(store: Store, tmp_path: Path, harm: object) -> None:
    assert callable(harm)
    _write(store, 1, 2)
    (segment,) = (tmp_path / "log").iterdir()
    segment.write_bytes(harm(segment.read_bytes()))
    with pytest.raises(CorruptDataError, match=rf"{segment} is corrupt; `repoloom retry"):
        _logged(store)
    assert CommitLog(store).keep({bytes.fromhex(_commit(1).task): parts_of(_commit(1))}) == 1
    assert _logged(store) == []


def test_bytes_that_hash_to_their_name_and_are_no_segment_are_refused(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / f"{hashlib.sha256(b'PAR1').hexdigest()}-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptDataError, match="is corrupt"):
        _logged(store)


def test_the_log_keeps_what_it_is_told_to_keep(store: Store) -> None:
    _write(store, 1, 2)
    _write(store, 3)
    _write(store, 4, 5)
    kept = [_commit(number) for number in (2, 4, 5)]
    assert CommitLog(store).keep({bytes.fromhex(commit.task): parts_of(commit) for commit in kept}) == 0
    assert sorted(_logged(store)) == sorted(commit.task for commit in kept)


def test_the_log_forgets_what_names_other_parts_than_the_commit(store: Store) -> None:
    _write(store, 1, 2)
    one, other = (_commit(number) for number in (1, 2))
    CommitLog(store).keep({bytes.fromhex(one.task): parts_of(one), bytes.fromhex(other.task): parts_of(one)})
    assert _logged(store) == [one.task]


@pytest.mark.usefixtures("small")
def test_what_another_run_merges_while_the_log_is_read_is_still_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    for number in range(3):
        _write(store, number)
    reading = CommitLog(store).segments()
    seen = [next(reading)]
    other = CommitLog(store)
    list(other.segments())
    other.add(_commit(3))
    other.flush()
    assert len(list(store.list("log"))) == 1, "all were merged"

    seen.extend(reading)

    assert {task for rows in seen for task in rows["task"].to_pylist()} == {
        bytes.fromhex(_commit(number).task) for number in range(4)
    }


@pytest.mark.usefixtures("small")
def test_two_runs_that_merge_at_once_lose_nothing(store: Store) -> None:
    for number in range(3):
        _write(store, number)
    one, two = CommitLog(store), CommitLog(store)
    for log, number in ((one, 3), (two, 4)):
        list(log.segments())
        log.add(_commit(number))
    one.flush()
    two.flush()
    assert sorted(_logged(store)) == sorted(_commit(number).task for number in range(5))
