"""What a build leaves in Redis: kept while a run or a worker of the build lives, forgotten some time later."""

from typing import Any

import redis
from fleet import BUILD, QUICK, Fleet, eventually
from running import Running, copy_tasks, make_task

from repoloom.engine.queue import names
from repoloom.engine.queue.app import make_app, publish

CPU = f"repoloom.cpu.{BUILD}"
SOON = 60_000  # milliseconds; that much is left of a key that nobody keeps


def left(client: redis.Redis, key: str) -> int:
    """Milliseconds until a key is forgotten; -1: it never is; -2: it is not there."""
    milliseconds: Any = client.pttl(key)
    return int(milliseconds)


def kept_for_good(client: redis.Redis) -> set[str]:
    keys: Any = client.keys("repoloom.*")
    return {key.decode() for key in keys if left(client, key.decode()) == -1}


def test_nothing_but_the_list_of_queues_is_kept_for_good(fleet: Fleet) -> None:
    fleet.pace = QUICK.model_copy(update={"drain": 0.2})
    [worker] = fleet.start()
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=1)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        assert kept_for_good(client) == {names.QUEUES}
        client.delete(CPU)
        worker.terminate()
        assert left(client, CPU) > 0, "what it gave back was the first to lie there"
        assert kept_for_good(client) == {names.QUEUES}
        fleet.release()
        fleet.start()
        running.join()


def test_what_is_published_is_forgotten_though_nobody_ever_comes(fleet: Fleet) -> None:
    with make_app(fleet.redis.broker, QUICK) as app, fleet.redis.client() as client:
        publish(app, CPU, "text")
        assert 0 < left(client, CPU) <= QUICK.leftover * 1000


def test_a_run_keeps_the_queues_that_it_waits_for(fleet: Fleet) -> None:
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        running = Running(pool.run([make_task(fleet.folder)]))
        eventually(lambda: client.llen(CPU) == 1)
        client.pexpire(CPU, SOON)
        eventually(lambda: left(client, CPU) > SOON)
        assert client.smembers(names.QUEUES) == {CPU.encode()}
        fleet.start()
        running.join()


def test_a_worker_keeps_the_messages_that_it_has_not_done_with(fleet: Fleet) -> None:
    fleet.start()
    with fleet.redis.pool() as pool, fleet.redis.client() as client:
        tasks = copy_tasks(pool, fleet.folder, {"probe/000": "hold"}, repositories=1)
        running = Running(pool.run(tasks))
        eventually(lambda: len(fleet.begun) == 1)
        for key in (names.unacked(), names.unacked_index()):
            client.pexpire(key, SOON)
            eventually(lambda key=key: left(client, key) > SOON)  # type: ignore[misc]
        fleet.release()
        running.join()


def test_claims_whose_time_is_over_are_not_counted_by_who_brings_workers(fleet: Fleet) -> None:
    fleet.start()
    with fleet.redis.client() as client:
        eventually(lambda: client.exists(names.workers(CPU)))
        client.zadd(names.running(CPU), {"of a worker that is gone": 1})
        eventually(lambda: client.zcard(names.running(CPU)) == 0)
