"""Workers that are frozen, ended, killed from inside or given a message twice; and a Redis that stays away."""

import json
import signal
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from fleet import BUILD, QUICK, Fleet, eventually
from probing import verify_commits
from running import Running, copy_tasks, make_task

from repoloom.engine.pool import FatalError, Limits
from repoloom.engine.queue import names
from repoloom.engine.queue.app import make_app, publish
from repoloom.engine.queue.patience import Patience
from repoloom.engine.queue.pool import CeleryPool
from repoloom.engine.queue.state import queue_state
from repoloom.engine.task import Attempt, Commit, Kind, Task

CPU = f"repoloom.cpu.{BUILD}"
SILENCE = r"redis://127\.0\.0\.1:\d+/0 has not answered for \d+ s"
UNACKED = f"repoloom.unacked.{BUILD}"


def _envelope(message: bytes) -> dict[str, Any]:
    [text], _, _ = json.loads(b64decode(json.loads(message)["body"]))
    envelope: dict[str, Any] = json.loads(text)
    return envelope


def test_a_message_that_comes_twice_and_words_that_make_no_sense_are_ignored(fleet: Fleet) -> None:
    fleet.start(1, concurrency=2)
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=3)
        fleet.workers[0].terminate()
        running = Running(pool.run(tasks))
        eventually(lambda: client.llen(CPU) == 3)
        messages: Any = client.lrange(CPU, 0, -1)
        for message in messages:
            client.lpush(CPU, message)
            client.rpush(CPU, message)
        run = _envelope(messages[0])["run"]
        for word in (
            b"",
            b"\xff",
            b"{}",
            b'{"task": "other"}',
            b'{"task":"' + tasks[0].key.encode() + b'","attempt":1}',
        ):
            client.rpush(names.hints(run), word)
        fleet.start(1, concurrency=4)
        eventually(lambda: client.llen(CPU) == 0 and len(fleet.begun) == 3)
        fleet.release()
        ended = running.join()
        assert sorted(outcome.task.key for outcome in ended) == sorted(task.key for task in tasks)
        assert all(isinstance(outcome.result, Commit) for outcome in ended)
        assert sorted(fleet.begun) == ["probe/000", "probe/001", "probe/002"]


def test_a_worker_frozen_past_its_claim_and_the_visibility_timeout_does_no_harm_when_it_wakes(fleet: Fleet) -> None:
    fleet.pace = pace = QUICK.model_copy(update={"visibility": 9.0})
    [sleeper] = fleet.start()
    with fleet.redis.pool(Limits(seconds=8, memory_bytes=400 << 20), pace) as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=3)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        sleeper.freeze()
        fleet.release()
        taken: Any = client.hkeys(UNACKED)
        [other] = fleet.start()
        ended = running.join()
        assert all(isinstance(outcome.result, Commit) for outcome in ended)
        eventually(lambda: not client.hexists(UNACKED, taken[0]))
        sleeper.thaw()
        other.terminate()
        [outcome] = pool.run([make_task(fleet.folder / "more")])
        assert isinstance(outcome.result, Commit), "the worker that woke works on"
    assert verify_commits(fleet.folder) == 5
    assert fleet.begun_after_commit == []


def test_a_worker_asked_to_end_finishes_its_task(fleet: Fleet) -> None:
    [worker] = fleet.start()
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=3)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        worker.ask_to_end()
        fleet.release()
        assert worker.process.wait(60) == 0
        assert verify_commits(fleet.folder / "probe.copy") == 1
        assert len(fleet.begun) == 1, "it took no other"
        assert client.llen(CPU) == 2
        fleet.start()
        assert all(isinstance(outcome.result, Commit) for outcome in running.join())
    assert len(fleet.begun) == 3


def test_a_worker_asked_to_end_gives_back_what_takes_too_long(fleet: Fleet) -> None:
    fleet.pace = QUICK.model_copy(update={"drain": 0.2})
    [worker] = fleet.start()
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=1)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        children = worker.children()
        worker.terminate()
        assert client.llen(CPU) >= 1
        assert not any(child.is_running() for child in children)
        fleet.release()
        fleet.start()
        [outcome] = running.join()
        assert isinstance(outcome.result, Commit)
    assert len(fleet.begun) == 2


def test_a_task_that_takes_its_whole_worker_down_again_and_again_comes_back_as_a_failed_attempt(fleet: Fleet) -> None:
    fleet.start(2)
    pace = QUICK.model_copy(update={"losses": 2, "grace": 1.0})
    with fleet.redis.pool(pace=pace) as pool:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "kill worker"}, repositories=1)
        [outcome] = pool.run(tasks)
        assert [worker.process.wait() for worker in fleet.workers] == [-signal.SIGKILL] * 2
    assert isinstance(outcome.result, Attempt)
    assert outcome.result.kind is Kind.CRASH


def test_cancelled_work_stops_within_seconds_and_leaves_nothing_half_done(fleet: Fleet) -> None:
    [worker] = fleet.start()
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/001": "hang"}, repositories=3)
        outcomes = pool.run(tasks)
        next(outcomes)
        eventually(lambda: len(fleet.begun) == 2)
        children = worker.children()
        outcomes.close()  # type: ignore[attr-defined]
        assert psutil.wait_procs(children, timeout=5)[1] == []
        eventually(lambda: client.llen(CPU) == 0)
        assert verify_commits(fleet.folder / "probe.copy") == 1
        [outcome] = pool.run([make_task(fleet.folder / "more")])
        assert isinstance(outcome.result, Commit), "the worker lives"
        eventually(lambda: all(state.depth == 0 for state in queue_state(fleet.redis.broker)))
    assert len(fleet.begun) == 2, "what was still queued was dropped"


def test_a_run_gives_up_when_redis_stays_away(fleet: Fleet) -> None:
    pace = QUICK.model_copy(update={"patience": 1.0})
    with fleet.redis.pool(pace=pace) as pool:
        running = pool.run(iter([make_task(fleet.folder)]))
        fleet.redis.kill(data=True)
        with pytest.raises(FatalError, match=SILENCE):
            next(running)
    fleet.redis.start()


def test_a_run_ends_when_redis_answers_no_more_though_it_takes_connections(fleet: Fleet) -> None:
    impatient = QUICK.model_copy(update={"patience": 1.0})
    broker = fleet.redis.broker.model_copy(update={"answer": 0.3})
    tasks = [make_task(fleet.folder / f"{number}", repositories=number) for number in (1, 2)]

    def stopped_amid() -> Iterator[Task]:
        yield tasks[0]
        fleet.redis.freeze()
        yield tasks[1]

    with (
        CeleryPool(broker, Limits(seconds=20), impatient) as pool,
        pytest.raises(FatalError, match=SILENCE),
    ):
        list(pool.run(stopped_amid()))


@pytest.mark.parametrize("connected", [True, False])
def test_what_is_published_to_a_redis_that_answers_no_more_is_given_up(fleet: Fleet, connected: bool) -> None:
    broker = fleet.redis.broker.model_copy(update={"answer": 1.0})
    with make_app(broker, QUICK) as app:
        if connected:
            publish(app, CPU, "text")
        fleet.redis.freeze()
        with pytest.raises(FatalError, match=SILENCE):
            Patience(broker, 1.0)(lambda: publish(app, CPU, "text"))


def test_who_waits_for_messages_longer_than_redis_may_take_to_answer_still_gets_them(fleet: Fleet) -> None:
    broker = fleet.redis.broker.model_copy(update={"answer": 0.2})
    with make_app(broker, QUICK) as app, app.connection_for_read() as connection:
        queue = connection.SimpleQueue(CPU)
        with pytest.raises(queue.Empty):
            queue.get(timeout=2.5)
        publish(app, CPU, "text")
        assert queue.get(timeout=10).payload[0] == ["text"]


def test_the_state_of_the_queues_counts_what_waits_and_what_is_under_way(fleet: Fleet) -> None:
    fleet.start(1, concurrency=2, queues=("cpu",))
    with fleet.redis.pool() as pool:
        tasks = copy_tasks(pool, fleet.folder, {f"probe/{n:03}": "hold" for n in range(1, 6)}, repositories=6)
        outcomes = pool.run(tasks)
        next(outcomes)

        def states() -> set[tuple[str, int, int, int, int]]:
            found = queue_state(fleet.redis.broker)
            return {(state.name, state.waiting, state.running, state.workers, state.depth) for state in found}

        eventually(lambda: states() == {(CPU, 3, 2, 1, 5), (f"repoloom.highmem.{BUILD}", 0, 0, 0, 0)})
        outcomes.close()  # type: ignore[attr-defined]
        eventually(lambda: (CPU, 0, 0, 1, 0) in states())
