"""The depth of the queues, as the metrics ask for it: what Redis says, or nothing, and soon."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import Redis

from repoloom.engine.queue.depths import Depths
from repoloom.engine.queue.names import QUEUES, queue_name
from repoloom.engine.queue.state import queue_state
from repoloom.engine.step import Queue


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    started = Redis(tmp_path / "redis")
    started.start()
    yield started
    started.kill(data=True)


def test_what_waits_is_told_and_an_answer_is_good_for_some_seconds(server: Redis) -> None:
    with server.client() as client:
        client.sadd(QUEUES, "repoloom.cpu.other")
        client.rpush("repoloom.cpu.other", "a", "b")
        depths = Depths(server.broker)
        told = depths()
        assert told["repoloom.cpu.other"] == 2
        assert set(told.values()) == {0, 2}
        client.rpush("repoloom.cpu.other", "c")
    assert depths() is told
    assert Depths(server.broker)()["repoloom.cpu.other"] == 3


def test_a_queue_that_nobody_serves_and_that_holds_nothing_is_named_no_more(server: Redis) -> None:
    own = {queue_name(queue) for queue in Queue}
    with server.client() as client:
        client.sadd(QUEUES, "repoloom.cpu.other", "repoloom.cpu.gone")
        client.rpush("repoloom.cpu.other", "a")
        assert {state.name for state in queue_state(server.broker)} == {*own, "repoloom.cpu.other"}
        assert client.smembers(QUEUES) == {b"repoloom.cpu.other"}


def test_nobody_waits_for_a_redis_that_is_frozen(server: Redis) -> None:
    server.freeze()
    depths = Depths(server.broker)
    assert depths() == {}
    assert [thread for thread in threading.enumerate() if thread.name == "depths"], "it is still being asked"
    server.kill(data=True)


def test_nothing_is_told_where_there_is_no_redis(server: Redis) -> None:
    server.kill(data=True)
    assert Depths(server.broker)() == {}
