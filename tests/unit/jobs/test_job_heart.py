"""The heart of a runner: it goes on beating whatever the store does, and stops where there is no job any more."""

import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from store_calls import Telling

from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.heart import HaltError, Heart, Why
from repoloom.jobs.records import End, JobRequest, Outcome, Progress
from repoloom.store.folder import FolderStore


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return JobBook(str(tmp_path), "filter")


@pytest.fixture
def _signals() -> Iterator[None]:
    """Those that a heart takes for itself are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _heart(book: JobBook, entry: str) -> Heart:
    return Heart(book, entry, "runner", _never, seconds=0.01)


def _never() -> NoReturn:
    raise AssertionError("the main thread did not come to a halt")


@pytest.mark.usefixtures("_signals")
def test_it_beats_on_after_an_error_of_whatever_kind(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)
    heart = _heart(book, entry)
    failed, beaten = threading.Event(), threading.Event()

    def fail_once(call: str, key: str) -> None:
        if call == "read" and not failed.is_set():
            failed.set()
            raise PermissionError(key)
        if call == "create" and key.startswith("progress/"):
            beaten.set()

    monkeypatch.setattr(book, "_store", Telling(FolderStore(f"{book.root}/.jobs/filter"), fail_once))
    with heart:
        assert beaten.wait(30)
    assert failed.is_set()


def test_it_begins_nothing_for_a_job_that_was_deleted(book: JobBook, tmp_path: Path) -> None:
    entry = book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)
    book.finish(entry, End(outcome=Outcome.SUCCEEDED, ended=datetime.now(UTC)))
    book.delete(id_of(entry))
    with pytest.raises(HaltError) as halted:
        _heart(book, entry).check()
    assert halted.value.why is Why.SUPERSEDED
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_it_goes_on_from_the_progress_that_was_written_for_its_runner(book: JobBook) -> None:
    entry = book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)
    stood = Progress(runner="runner", beat=5, steps=2, steps_done=1, tasks=8, done=7)
    book.write_progress(entry, stood)
    book.cancel(id_of(entry))
    heart = _heart(book, entry)
    with pytest.raises(HaltError):
        heart.check()
    assert heart.progress == book.progress(entry) == stood.model_copy(update={"beat": 6})
    heart.begin(3)
    assert heart.progress == Progress(runner="runner", beat=6, steps=3)


def test_it_takes_no_progress_of_another_runner_for_its_own(book: JobBook) -> None:
    entry = book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)
    book.write_progress(entry, Progress(runner="zzz", tasks=8, done=7))
    assert _heart(book, entry).progress == Progress(runner="runner")
