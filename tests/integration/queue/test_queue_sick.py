"""Workers that can do nothing for a task, for want of disk or rights: others do it, or the run ends saying why."""

import contextlib
import itertools
import resource
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fleet import BUILD, QUICK, Fleet, Worker, eventually, free_port
from running import Running, copy_tasks, make_task

from repoloom.engine.pool import FatalError
from repoloom.engine.task import Commit

CPU = f"repoloom.cpu.{BUILD}"
FILE_BYTES = 16 << 10  # that a sick worker may write
SIZE = 20_000  # of the files whose parts it cannot
LAMENT = "could do nothing for task"


@contextlib.contextmanager
def scarce_disk() -> Iterator[None]:
    """Whoever is started in the block cannot write a large file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def cure(worker: Worker) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def health(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_one_sick_worker_ends_no_run_however_often_it_meets_a_task_while_the_others_are_busy(fleet: Fleet) -> None:
    fleet.start()
    with fleet.redis.pool() as pool:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=2, size=SIZE)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        with scarce_disk():
            [sick] = fleet.start()
        eventually(lambda: sick.said(LAMENT) > QUICK.witnesses)
        fleet.release()
        ended = running.join()
    assert len(ended) == 2
    assert all(isinstance(outcome.result, Commit) for outcome in ended)


@pytest.mark.parametrize("workers", [1, 2])
def test_where_all_workers_are_sick_the_run_ends_with_what_they_say_however_much_is_queued(
    fleet: Fleet, workers: int
) -> None:
    with scarce_disk():
        fleet.start(workers)
    tasks = (make_task(fleet.folder / f"{size}", size=size) for size in range(SIZE, SIZE + 2000, 2))
    with fleet.redis.pool() as pool, pytest.raises(FatalError, match=r"cannot write .*/probe\.make/"):
        next(pool.run(tasks))


def test_a_task_that_no_worker_can_do_ends_the_run_though_all_others_are_done(fleet: Fleet, tmp_path: Path) -> None:
    fleet.start()
    pace = QUICK.model_copy(update={"window": 2})
    good = (make_task(fleet.folder / f"{size}", size=size) for size in itertools.count(2, 2))
    tasks = itertools.chain([make_task(tmp_path / "elsewhere")], good)
    done = []
    with fleet.redis.pool(pace=pace) as pool, pytest.raises(FatalError, match="below none of the stores"):
        done.extend(pool.run(tasks))
    assert done


def test_a_worker_that_is_well_again_does_what_it_could_not(fleet: Fleet) -> None:
    fleet.pace = QUICK.model_copy(update={"rest": 2.0, "longest_rest": 2.0})
    with scarce_disk():
        [worker] = fleet.start()
    with fleet.redis.pool() as pool:
        running = Running(pool.run([make_task(fleet.folder, size=SIZE)]))
        eventually(lambda: worker.said(LAMENT) == 1)
        cure(worker)
        [outcome] = running.join()
    assert isinstance(outcome.result, Commit)


def test_a_worker_that_rests_says_so_takes_nothing_and_ends_at_once_when_it_is_asked(fleet: Fleet) -> None:
    fleet.pace = QUICK.model_copy(update={"rest": 600.0, "longest_rest": 600.0})
    port = free_port()
    with scarce_disk():
        [sick] = fleet.start(REPOLOOM_WORKER_METRICS_ADDRESS=f"127.0.0.1:{port}")
    assert health(port) == 200
    tasks = [make_task(fleet.folder / f"{size}", size=size) for size in (SIZE, SIZE + 2)]
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        running = Running(pool.run(tasks))
        eventually(lambda: client.llen(CPU) == 2)
        assert health(port) == 503
        assert sick.terminate() == 0
        assert client.llen(CPU) == 2
        fleet.start()
        assert all(isinstance(outcome.result, Commit) for outcome in running.join())
    assert sick.said(LAMENT) == 1


def test_that_a_worker_cannot_start_a_process_is_no_failure_of_the_task(fleet: Fleet, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    [worker] = fleet.start(TMPDIR=str(scratch))
    with fleet.redis.pool() as pool:
        next(pool.run([make_task(fleet.folder / "first")]))
        children = worker.children()
        for child in children:
            child.kill()
        eventually(lambda: not any(map(lives, children)))
        shutil.rmtree(scratch)
        with pytest.raises(FatalError, match=r"a worker's machine gives it no process or file: .*No such file"):
            next(pool.run([make_task(fleet.folder / "second")]))
