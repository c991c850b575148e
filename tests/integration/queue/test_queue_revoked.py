"""A claim can be taken away: an attempt that never ends keeps its task from nobody."""

from pathlib import Path

import psutil
import pytest
from fleet import BUILD, QUICK, Fleet, eventually
from running import Running, copy_tasks, make_task

from repoloom.engine.pool import Limits
from repoloom.engine.queue import names
from repoloom.engine.queue.board import Board, Claim, Holder
from repoloom.engine.queue.message import Envelope, Hint
from repoloom.engine.queue.state import queue_state
from repoloom.engine.step import Queue
from repoloom.engine.task import Attempt, Commit, Kind, Task

CPU = f"repoloom.cpu.{BUILD}"
RUN = "0" * 32


@pytest.fixture
def board(fleet: Fleet) -> Board:
    return Board(fleet.redis.client(), QUICK)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_task(tmp_path / "out")


def claim(task: Task, token: str) -> Claim:
    return Claim(token, Envelope(run=RUN, queue=Queue.CPU, number=1, limits=Limits(), task=task))


def test_a_claim_that_was_taken_away_is_whoevers_comes_and_its_old_holder_cannot_have_it_back(
    board: Board, task: Task
) -> None:
    old, new = claim(task, "old"), claim(task, "new")
    assert board.take(old) is Holder.MINE
    assert board.take(new) is Holder.OTHERS
    board.revoke(task, CPU, "old")
    assert board.holders([task]) == [None]
    assert board.sight(CPU).running == 0
    assert board.renew(old) is Holder.OTHERS, "before another comes"
    assert board.take(new) is Holder.MINE
    assert board.renew(old) is Holder.OTHERS
    board.release(old)
    assert board.holders([task]) == ["new"]
    assert board.renew(new) is Holder.MINE


def test_what_the_old_holder_says_of_a_failure_is_not_believed(board: Board, task: Task) -> None:
    old = claim(task, "old")
    board.take(old)
    board.revoke(task, CPU, "old")
    board.report(old, Hint(task=task.key, attempt=Attempt(kind=Kind.ERROR, error="late", at="")))
    assert board.hints(RUN, wait=0) == []


def test_who_came_by_a_claim_meanwhile_keeps_it(board: Board, task: Task) -> None:
    old, new = claim(task, "old"), claim(task, "new")
    board.take(old)
    board.release(old)
    board.take(new)
    board.revoke(task, CPU, "old")
    assert board.renew(new) is Holder.MINE


@pytest.mark.parametrize("reports", [True, False])
def test_a_claim_that_ran_out_is_counted_no_more_once_its_holder_is_done(
    board: Board, fleet: Fleet, task: Task, reports: bool
) -> None:
    held = claim(task, "old")
    with fleet.redis.client() as client:
        board.take(held)
        client.delete(held.keys[0])
        assert client.zcard(names.running(CPU)) == 1
        if reports:
            board.report(held, Hint(task=task.key))
        else:
            board.release(held)
        assert client.zcard(names.running(CPU)) == 0


def test_a_task_whose_attempt_never_ends_though_its_worker_lives_is_done_by_another(fleet: Fleet) -> None:
    [stuck] = fleet.start(UNLIMITED="1")
    with fleet.redis.pool() as pool:
        [task] = copy_tasks(pool, fleet.folder, {}, repositories=1)
    [child] = stuck.children()
    child.suspend()
    pace = QUICK.model_copy(update={"overdue": 0.5})
    with fleet.redis.pool(Limits(seconds=6, memory_bytes=400 << 20), pace) as pool:
        running = Running(pool.run([task]))
        eventually(lambda: any(state.running for state in queue_state(fleet.redis.broker)))
        fleet.start()
        [outcome] = running.join()
        assert isinstance(outcome.result, Commit)
        assert psutil.wait_procs([child], timeout=60)[1] == [], "who had it stops"
        eventually(lambda: all(state.running == 0 for state in queue_state(fleet.redis.broker)))
    assert len(fleet.begun) == 1
