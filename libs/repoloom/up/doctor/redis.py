"""Redis and the queues that lie in it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from repoloom.engine.queue import REDIS_URL
from repoloom.engine.queue.broker import AWAY, Broker
from repoloom.engine.queue.state import QueueState, queue_state
from repoloom.errors import RepoloomError
from repoloom.up.doctor.finding import Finding

_OLDEST = (6, 2)  # LPOP of several
_SKEW_SECONDS = 5.0
_FULL = 0.8  # of maxmemory


def redis_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """What can be seen of the Redis of an environment; nothing more once it cannot be used."""
    try:
        broker = Broker.from_environment(environment)
        broker.check()
    except RepoloomError as error:
        yield Finding.fail(
            "redis", str(error), f"`repoloom up` starts one; else set {REDIS_URL} and REPOLOOM_REDIS_PASSWORD"
        )
        return
    yield Finding.ok("redis", f"{broker.shown} answers and lets us in")
    try:
        with broker.client() as client:
            yield from _server(client)
        yield from map(_queue, (queue for queue in queue_state(broker) if queue.of_this_build or queue.depth))
    except AWAY as error:
        yield Finding.fail("redis", f"it refused while it was looked at: {error}", "see its log")


def _server(client: Any) -> Iterator[Finding]:  # noqa: ANN401 - its types allow for an asynchronous twin everywhere
    info = client.info()
    yield _version(str(info["redis_version"]))
    yield _clock(client)
    yield _eviction(info)
    yield _memory(info)
    yield _persistence(info)
    if not client.connection_pool.connection_kwargs.get("password"):
        way_out = "set requirepass or an ACL: whoever writes to a queue has tasks run"
        yield Finding.warn("redis password", "anybody who reaches it may write to it", way_out)


def _version(said: str) -> Finding:
    numbers = tuple(int(number) for number in said.split(".")[:2])
    if numbers < _OLDEST:
        return Finding.fail("redis version", said, f"install {'.'.join(map(str, _OLDEST))} or newer")
    return Finding.ok("redis version", said)


def _clock(client: Any) -> Finding:  # noqa: ANN401
    before = time.time()
    seconds, micros = client.time()
    skew = abs(seconds + micros / 1e6 - (before + time.time()) / 2)
    said = f"{skew:.1f} s between here and Redis"
    if skew > _SKEW_SECONDS:
        return Finding.warn(
            "clock of redis", said, "let NTP set both clocks; queues do not mind, logs are hard to read"
        )
    return Finding.ok("clock of redis", said)


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding.ok("redis eviction", policy)
    said = f"maxmemory-policy is {policy}: a full Redis throws away messages and claims, which costs time"
    return Finding.warn("redis eviction", said, "redis-cli CONFIG SET maxmemory-policy noeviction")


def _memory(info: Mapping[str, Any]) -> Finding:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    said = f"{used / 2**20:.0f} MiB used of {f'{most / 2**20:.0f} MiB' if most else 'no limit'}"
    if most and used > _FULL * most:
        return Finding.warn("redis memory", said, "raise maxmemory: a full Redis takes no tasks")
    return Finding.ok("redis memory", said)


def _persistence(info: Mapping[str, Any]) -> Finding:
    """Nothing need be kept. What is kept must not fail: Redis refuses all writes when a snapshot could not be saved."""
    failed = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if info.get(name, "ok") != "ok"]
    if failed:
        said = f"{', '.join(failed)}: err; it may refuse all writes until that is mended"
        return Finding.fail("redis persistence", said, "free its disk, or turn snapshots off: CONFIG SET save ''")
    how = "appends to a log" if info.get("aof_enabled") else "no append-only log"
    return Finding.ok("redis persistence", f"{how}; it holds only hints, so nothing is lost with it")


def _queue(queue: QueueState) -> Finding:
    subject = f"queue {queue.name}"
    said = f"{queue.waiting} waiting, {queue.running} running, {queue.workers} workers"
    if queue.workers:
        return Finding.ok(subject, said)
    if not queue.of_this_build:
        way_out = "its workers ran another repoloom; start one of that build, or run again with this one"
        return Finding.warn(subject, f"{said}; it is of another build", way_out)
    way_out = "start `repoloom worker` with this installation, or `repoloom up`"
    if queue.depth:
        return Finding.fail(subject, f"{said}: nobody does these tasks", way_out)
    return Finding.warn(subject, said, way_out)
