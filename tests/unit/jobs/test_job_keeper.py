"""The keeper judges its own runners alone."""

import threading
from pathlib import Path
from typing import Any

import pytest

from repoloom.jobs import keeper as keepers
from repoloom.jobs.book import JobBook
from repoloom.jobs.keeper import Keeper
from repoloom.jobs.records import JobRequest, Progress
from repoloom.jobs.settings import JobSettings


def test_a_job_is_not_given_up_whose_runner_is_another_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = JobBook(str(tmp_path), "filter")
    entry = book.accept(JobRequest(request_id="one", stage="filter", output="/out"), most=10)
    died = threading.Semaphore(0)

    class Dying:
        """A runner that dies as another replica's takes up its job."""

        def __init__(self, *_: Any, **__: Any) -> None:
            book.write_progress(entry, Progress(runner="of another replica"))

        def poll(self) -> int:
            died.release()
            return 1

        def terminate(self) -> None:
            """It is dead."""

        def wait(self, timeout: float) -> int:  # noqa: ARG002 - as of subprocess.Popen
            return 1

    monkeypatch.setattr(keepers.subprocess, "Popen", Dying)
    keeper = Keeper(book, (), JobSettings(root=str(tmp_path), beat_seconds=0.01, silence_seconds=0.03))
    keeper.start()
    for _ in range(8):
        assert died.acquire(timeout=30), "nobody does the job any more"
    keeper.stop()
    assert not book.ended(entry)
