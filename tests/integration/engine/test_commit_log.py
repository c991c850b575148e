"""The log of commits saves looking and decides nothing: lost, doubled or cut off, the dataset is the same."""

import signal
from collections import Counter
from itertools import count
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from killing import die_at
from one_process import copy, forked
from probing import Probe, committed
from store_calls import Telling

from repoloom.corpus.dataset import Dataset
from repoloom.engine import log as log_module
from repoloom.engine import reconcile as reconcile_module
from repoloom.engine.log import CommitLog
from repoloom.engine.plan import Table
from repoloom.engine.reconcile import Status
from repoloom.engine.task import Commit
from repoloom.store import open_store


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the reconciler asks of its store."""
    counted: Counter[str] = Counter()

    def called(what: str, key: str) -> None:
        counted[f"{what} {key.partition('/')[0]}"] += 1

    monkeypatch.setattr(reconcile_module, "open_store", lambda uri: Telling(open_store(uri), called))
    return counted


@pytest.fixture
def compacting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment after each commit, and one of each three of them."""
    monkeypatch.setattr(log_module, "_LEAST", 1)
    monkeypatch.setattr(log_module, "_MOST", 1)
    monkeypatch.setattr(log_module, "_SMALL", 2)


def _files(folder: Path, repositories: int) -> Table:
    Probe(folder, step=None, make={"repositories": repositories}).run()
    return Table(Dataset.open(str(folder / "probe.make")), "files")


@pytest.fixture
def files(tmp_path: Path) -> Table:
    return _files(tmp_path, 6)


def _interrupt(out: Path) -> None:
    (out / "manifest.json").unlink()


@pytest.mark.usefixtures("compacting")
def test_killed_at_every_event_of_a_compaction_the_log_still_says_all_that_was_written(
    tmp_path: Path, files: Table
) -> None:
    whole = copy(files, tmp_path / "whole")
    _interrupt(tmp_path / "whole")
    rmtree(tmp_path / "whole" / "log")
    doubled = 0
    for event in count(1):
        out = tmp_path / f"{event}"
        copytree(tmp_path / "whole", out)
        before = committed(out)
        status = forked(lambda out=out, event=event: (die_at(event, below=str(out)), _log_each(out)))
        tasks = [task for rows in CommitLog(open_store(str(out))).segments() for task in rows["task"].to_pylist()]
        doubled += len(tasks) > len(set(tasks))

        dataset = copy(files, out)

        assert dataset.digest == whole.digest
        assert committed(out) == before, "nothing is done twice"
        if status == 0:
            break
        assert status == -signal.SIGKILL
        rmtree(out)
    assert len(set(tasks)) == 5
    assert event > 30, "each of five segments takes several events"
    assert doubled > 1, "some were killed between a merged segment and the end of those it replaces"


def _log_each(out: Path) -> None:
    log = CommitLog(open_store(str(out)))
    for commit in sorted(out.rglob("commit.json")):
        log.add(Commit.model_validate_json(commit.read_bytes()))
        log.flush()


@pytest.mark.usefixtures("compacting")
def test_a_run_that_compacts_all_the_time_makes_the_same_dataset(tmp_path: Path, undisturbed: str) -> None:
    files = _files(tmp_path, 8)
    assert copy(files, tmp_path / "out", bad={}).digest == undisturbed
    assert len(list((tmp_path / "out" / "log").iterdir())) <= 3


@pytest.mark.usefixtures("compacting")
def test_a_log_that_was_lost_in_part_or_wholly_costs_no_work(tmp_path: Path, files: Table) -> None:
    out = tmp_path / "out"
    digest = copy(files, out).digest
    before = committed(out)
    for segment in sorted((out / "log").iterdir()):
        _interrupt(out)
        segment.unlink()
        assert copy(files, out).digest == digest
    _interrupt(out)
    rmtree(out / "log")
    assert copy(files, out).digest == digest
    assert committed(out) == before


def test_a_log_that_says_things_twice_or_of_other_tasks_says_the_same(tmp_path: Path, files: Table) -> None:
    out = tmp_path / "out"
    dataset = copy(files, out)
    other = copy(files, tmp_path / "other", cured_by=__file__)
    assert other.digest != dataset.digest
    log = CommitLog(open_store(str(out)))
    for commit in (*sorted(out.rglob("commit.json"))[:3], *(tmp_path / "other").rglob("commit.json")):
        log.add(Commit.model_validate_json(commit.read_bytes()))
    log.flush()
    (out / "log" / "half-written").write_bytes(b"PAR1")
    _interrupt(out)
    seen: list[Status] = []
    assert copy(files, out, watch=seen.append).digest == dataset.digest
    assert (seen[0].done, seen[0].reused) == (5, 5)


def test_looking_costs_as_many_requests_whether_little_or_much_is_done(tmp_path: Path, requests: Counter[str]) -> None:
    """Ten times the work is one segment of the log more, and not ten times the requests."""
    for repositories, segments in ((3, 1), (30, 2)):
        files = _files(tmp_path / f"{repositories}", repositories)
        out = tmp_path / f"{repositories}" / "out"
        whole = {"bad": {}}

        requests.clear()
        copy(files, out, **whole)
        assert requests == {
            "exists manifest.json": 1,
            "list log": 1,
            "list failures": 1,
            "create log": segments,
            "create parts": 2,
            "create manifest.json": 1,
        }

        requests.clear()
        copy(files, out, **whole)
        assert requests == {"exists manifest.json": 1}, "of a finished dataset only the manifest is looked at"

        _interrupt(out)
        requests.clear()
        copy(files, out, **whole)
        assert requests == {
            "exists manifest.json": 1,
            "list log": 2,
            "read log": segments,
            "list failures": 1,
            "create parts": 2,
            "create manifest.json": 1,
        }


def test_failures_cost_as_many_requests_as_there_are_failures(tmp_path: Path, requests: Counter[str]) -> None:
    files = _files(tmp_path, 12)
    copy(files, tmp_path / "out")
    requests.clear()
    copy(files, tmp_path / "out")
    assert requests["list failures"] == 1
    assert requests["read failures"] == 1
    assert requests["read tasks"] == requests["list tasks"] == 0
    assert requests["create failures"] == requests["create log"] == 0


def test_failures_of_a_task_that_was_committed_all_the_same_are_forgotten(tmp_path: Path, files: Table) -> None:
    out = tmp_path / "out"
    digest = copy(files, out, bad={}).digest
    task = next(out.rglob("commit.json")).parent.name
    (out / "failures").mkdir()
    (out / "failures" / f"{task}.json").write_bytes(b"{}")
    _interrupt(out)
    assert copy(files, out, bad={}).digest == digest
    assert list((out / "failures").iterdir()) == []
