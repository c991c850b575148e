"""A runner in the test's own process, and what comes between its steps."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from fleet import EXTRA_STAGES

from repoloom.engine.queue.broker import Broker
from repoloom.engine.reconcile import Status
from repoloom.jobs import runner
from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.heart import Heart
from repoloom.jobs.records import End, EngineRequest, JobRequest, Outcome
from repoloom.jobs.runner import Charge, Runner
from repoloom.jobs.settings import JobSettings


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A runner takes signals for itself; they are given back. Its workers find the stage for tests."""
    monkeypatch.setenv("PYTHONPATH", str(EXTRA_STAGES))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def book(root: Path) -> JobBook:
    return JobBook(str(root), "probe")


def _open(book: JobBook, request: str, monkeypatch: pytest.MonkeyPatch, age: int) -> str:
    """Opens a job for the output, as a replica does that died before it looked whose it is by now."""
    monkeypatch.setattr("repoloom.jobs.book._new_entry", lambda job: f"{age:013}-{0:08}-{job}")
    with monkeypatch.context() as patch:
        patch.setattr(book, "_check_open", lambda *_: None)
        patch.setattr("repoloom.jobs.book._PAUSE", 0)
        return book.accept(
            JobRequest(
                request_id=request, stage="probe", output=f"{book.root}/out", engine=EngineRequest(task_bytes=1)
            ),
            most=10,
        )


def _run(book: JobBook, entry: str) -> End:
    settings = JobSettings(root=book.root, workers=1)
    Runner(book.service, entry, Charge(settings=settings, stages=("probe",), runner="runner", keeper=0), {}).run()
    end = book.end(entry)
    assert end is not None
    return end


def test_of_two_open_jobs_with_one_output_the_younger_fails_before_it_begins(
    book: JobBook, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, younger = (_open(book, request, monkeypatch, age) for request, age in (("older", 2), ("younger", 1)))
    end = _run(book, younger)
    assert end.failure is not None
    assert end.failure.error == "ConflictError"
    assert id_of(older) in end.failure.message
    assert not (root / "out").exists()
    assert _run(book, older).outcome is Outcome.SUCCEEDED


def test_a_job_whose_output_an_older_one_has_by_now_writes_no_manifest(
    book: JobBook, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Heart.watch

    def be_opened_meanwhile(heart: Heart, status: Status) -> None:
        watch(heart, status)
        if status.step == "probe.copy" and status.done == status.tasks:
            _open(book, "older", monkeypatch, age=2)

    younger = _open(book, "younger", monkeypatch, age=1)
    monkeypatch.setattr(Heart, "watch", be_opened_meanwhile)
    end = _run(book, younger)
    assert end.failure is not None
    assert end.failure.error == "ConflictError"
    assert [str(path.relative_to(root)) for path in root.glob("out/*/manifest.json")] == [
        "out/probe.make/manifest.json"
    ]


def test_a_runner_that_begins_anew_has_all_that_its_keeper_gave_it(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = Charge(settings=JobSettings(root=book.root), stages=("probe",), runner="runner", keeper=os.getppid())
    given = {runner.VARIABLE: charge.model_dump_json(), "REPOLOOM_REDIS_URL": "redis://:secret@host:6379/0"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    def work(self: Runner) -> None:
        Broker.take_from_environment(os.environ)  # as its pool does
        self._begin_anew()

    began = Mock()
    monkeypatch.setattr(Runner, "run", work)
    monkeypatch.setattr(runner.sys, "argv", ["runner", book.service, "0"])
    monkeypatch.setattr(runner.os, "execve", began)
    for name in ("end_with_parent", "conceal", "configure", "_await_workers"):  # they are of a process of its own
        monkeypatch.setattr(runner, name, Mock())
    interrupt = signal.getsignal(signal.SIGINT)
    runner.main()
    signal.signal(signal.SIGINT, interrupt)
    _, _, environment = began.call_args.args
    assert given.items() <= environment.items()
