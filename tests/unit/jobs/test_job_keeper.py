"""The keeper judges its own runners alone, and each job by itself."""

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from repoloom.jobs import keeper as keepers
from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.keeper import Keeper
from repoloom.jobs.records import JobRequest, Progress
from repoloom.jobs.settings import JobSettings


class _Ended:
    """The process of a runner that has ended."""

    def __init__(self, code: int) -> None:
        self._code = code

    def poll(self) -> int:
        return self._code

    def terminate(self) -> None:
        """It is dead."""

    def wait(self, timeout: float) -> int:  # noqa: ARG002 - as of subprocess.Popen
        return self._code


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return JobBook(str(tmp_path), "filter")


@pytest.fixture
def entry(book: JobBook) -> str:
    return book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)


def _starts(monkeypatch: pytest.MonkeyPatch, code: int) -> "SimpleQueue[str]":
    """The entries of the runners that are started from now on, which end at once."""
    started: SimpleQueue[str] = SimpleQueue()

    def start(command: list[str], **_: Any) -> _Ended:
        started.put(command[-1])
        return _Ended(code)

    monkeypatch.setattr(keepers.subprocess, "Popen", start)
    return started


def test_a_job_is_not_given_up_whose_runner_is_another_replicas(
    book: JobBook, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = threading.Semaphore(0)

    def die_as_another_replica_takes_it_up(*_: Any, **__: Any) -> _Ended:
        book.write_progress(entry, Progress(runner="of another replica"))
        died.release()
        return _Ended(1)

    monkeypatch.setattr(keepers.subprocess, "Popen", die_as_another_replica_takes_it_up)
    keeper = Keeper(book, (), JobSettings(root=book.root, beat_seconds=0.01, silence_seconds=0.03))
    keeper.start()
    for _ in range(8):
        assert died.acquire(timeout=30), "nobody does the job any more"
    keeper.stop()
    assert not book.ended(entry)


@pytest.mark.parametrize("last", [0, 1])
def test_a_job_that_another_replica_took_up_after_runners_died_is_left_to_it(
    book: JobBook, entry: str, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    codes = [1, 1, last]
    started: list[_Ended] = []
    looked = threading.Semaphore(0)

    def start(*_: Any, **__: Any) -> _Ended:
        started.append(_Ended(codes[min(len(started), 2)]))
        return started[-1]

    def entries() -> list[str]:
        if len(started) >= len(codes):  # and they are buried
            book.write_progress(entry, Progress(runner="of another replica"))
            looked.release()
        return [entry]

    monkeypatch.setattr(keepers.subprocess, "Popen", start)
    monkeypatch.setattr(book, "open_entries", entries)
    keeper = Keeper(book, (), JobSettings(root=book.root, beat_seconds=0.01, silence_seconds=1000))
    keeper.start()
    for _ in range(10):
        assert looked.acquire(timeout=30)
    keeper.stop()
    assert len(started) == len(codes)
    assert not book.ended(entry)


def test_a_job_whose_record_is_corrupt_keeps_no_other_from_its_runner(
    book: JobBook, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = book.accept(JobRequest(request_id="two", stage="filter", output="/elsewhere"), most=10)
    records = Path(book.root, ".jobs/filter")
    (records / f"requests/{id_of(entry)}.json").write_text("?")
    (records / f"votes/{entry}").mkdir(parents=True)
    (records / f"votes/{entry}/one-1-begun.json").write_text("?")
    started = _starts(monkeypatch, 0)
    keeper = Keeper(book, (), JobSettings(root=book.root, beat_seconds=0.01))
    keeper.start()
    assert started.get(timeout=30) == later
    keeper.stop()


def test_a_dead_runner_whose_job_cannot_be_ended_keeps_no_other_from_its_runner(
    book: JobBook, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = Path(book.root, f".jobs/filter/votes/{entry}")
    votes.mkdir(parents=True)
    (votes / "one-1-begun.json").write_text("?")
    monkeypatch.setattr(keepers, "_DEATHS", 1)
    started = _starts(monkeypatch, 1)
    keeper = Keeper(book, (), JobSettings(root=book.root, beat_seconds=0.01))
    keeper.start()
    assert started.get(timeout=30) == entry
    later = book.accept(JobRequest(request_id="two", stage="filter", output="/elsewhere"), most=10)
    while started.get(timeout=30) != later:
        """It is tried again, and the other comes to its turn."""
    keeper.stop()
    assert not book.ended(entry)
