"""A run that is cancelled ends at once, with its workers, and leaves what it committed and nothing half done."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from one_process import OneProcess, copy
from probing import EXTRA_STAGES, Probe, committed

from repoloom.corpus.dataset import Dataset
from repoloom.engine.plan import Table
from repoloom.engine.pool import Limits, LocalPool, Outcome
from repoloom.engine.reconcile import Status
from repoloom.engine.task import Task


class CancelledError(Exception):
    """Somebody wants no more of it."""


@pytest.fixture
def files(tmp_path: Path) -> Table:
    Probe(tmp_path, step=None, make={"repositories": 4}).run()
    return Table(Dataset.open(str(tmp_path / "probe.make")), "files")


def test_an_error_of_whoever_watches_closes_the_pool_and_keeps_what_is_committed(tmp_path: Path, files: Table) -> None:
    closed = []

    class Closing(OneProcess):
        def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            try:
                yield from super().run(tasks)
            finally:
                closed.append(True)

    def watch(status: Status) -> None:
        if status.done == 2:
            raise CancelledError

    out = tmp_path / "out"
    with pytest.raises(CancelledError) as raised:
        copy(files, out, Closing(), watch)

    assert closed, f"the pool is closed although {raised} still holds the run's frames"
    assert not (out / "manifest.json").exists()
    before = committed(out)
    assert len(list(out.rglob("commit.json"))) == 2
    assert copy(files, out).digest == copy(files, tmp_path / "undisturbed").digest
    assert before.items() <= committed(out).items()


def test_a_signal_cancels_a_run_whose_tasks_hang(tmp_path: Path, files: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(EXTRA_STAGES))
    out = tmp_path / "out"
    bad = {"probe/001": "hang", "probe/003": "hang"}
    pid = os.fork()
    if pid == 0:
        os._exit(_run_until_cancelled(files, out, bad))
    run = psutil.Process(pid)
    while len(list(out.rglob("commit.json"))) < 2:
        assert run.status() != psutil.STATUS_ZOMBIE
        time.sleep(0.01)
    workers = run.children()
    assert len(workers) == 2

    os.kill(pid, signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    assert not (out / "manifest.json").exists()
    assert copy(files, out).digest == copy(files, tmp_path / "undisturbed").digest


def _run_until_cancelled(files: Table, out: Path, bad: dict[str, str]) -> int:
    """0 where the run ended as it was told to."""

    def cancel(*_: object) -> None:
        raise CancelledError

    signal.signal(signal.SIGTERM, cancel)
    try:
        with LocalPool(2, Limits()) as pool:
            copy(files, out, pool, bad=bad)
    except CancelledError:
        return 0
    return 1
