"""What befalls the fleet besides what the wire does: each kind, and how often it comes."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from enum import StrEnum

import psutil
from kept import Kept
from stormy_fleet import PACE, StormyFleet


class Mishap(StrEnum):
    """A kind of mishap."""

    CHILD_KILLED = "task's process killed"
    WORKER_KILLED = "worker killed"
    WORKER_TOLD_TO_END = "worker told to end"
    WORKER_FROZEN_LONG = "worker frozen past the visibility timeout"
    WORKER_FROZEN = "worker frozen past its claim"
    RECONCILER_KILLED = "reconciler killed"
    RECONCILER_FROZEN = "reconciler frozen"
    SERVICE_KILLED = "service killed"
    RUNNER_KILLED = "job's runner killed"
    REDIS_KILLED = "Redis killed, its data kept"
    REDIS_LOST = "Redis killed, its data lost"
    REDIS_FLUSHED = "Redis flushed"
    REDIS_FROZEN = "Redis frozen"
    SERVER_KILLED = "S3 server killed"
    SERVER_FROZEN = "S3 server frozen"
    ALL_CUT = "all connections to S3 cut"
    CLOCK_OFF = "clock wrong by minutes"
    CLOCK_FAR_OFF = "clock wrong by hours, then set right"


WEIGHTS = {
    Mishap.CHILD_KILLED: 12,
    Mishap.WORKER_KILLED: 4,
    Mishap.WORKER_TOLD_TO_END: 2,
    Mishap.WORKER_FROZEN_LONG: 1,
    Mishap.WORKER_FROZEN: 2,
    Mishap.RECONCILER_KILLED: 4,
    Mishap.RECONCILER_FROZEN: 2,
    Mishap.SERVICE_KILLED: 2,
    Mishap.RUNNER_KILLED: 2,
    Mishap.REDIS_KILLED: 4,
    Mishap.REDIS_LOST: 4,
    Mishap.REDIS_FLUSHED: 3,
    Mishap.REDIS_FROZEN: 2,
    Mishap.SERVER_KILLED: 4,
    Mishap.SERVER_FROZEN: 2,
    Mishap.ALL_CUT: 10,
    Mishap.CLOCK_OFF: 6,
    Mishap.CLOCK_FAR_OFF: 4,
}

Later = Callable[[float, Callable[[], None]], None]
"""Has something done so many seconds from now."""


class Mishaps:
    """Brings mishaps about. Each returns whether it could happen now."""

    def __init__(self, fleet: StormyFleet, draw: random.Random, later: Later) -> None:
        self._fleet = fleet
        self._draw = draw
        self._later = later

    def befall(self, mishap: Mishap) -> bool:
        """Has one of a kind happen, if it can."""
        fleet = self._fleet
        match mishap:
            case Mishap.CHILD_KILLED:
                return self._kill_one([child for worker in fleet.workers for child in worker.family()[1:]])
            case Mishap.WORKER_KILLED:
                return self._end(fleet.workers, signal.SIGKILL)
            case Mishap.WORKER_TOLD_TO_END:
                return self._end(fleet.workers, signal.SIGTERM)
            case Mishap.WORKER_FROZEN_LONG:
                return self._freeze(fleet.workers, PACE.visibility + 2)
            case Mishap.WORKER_FROZEN:
                return self._freeze(fleet.workers, PACE.claim + 2)
            case Mishap.RECONCILER_KILLED:
                return self._end(self._reconcilers, signal.SIGKILL)
            case Mishap.RECONCILER_FROZEN:
                return self._freeze(self._reconcilers, 3)
            case Mishap.SERVICE_KILLED:
                return self._end([fleet.service], signal.SIGKILL)
            case Mishap.RUNNER_KILLED:
                return self._kill_one(fleet.service.family()[1:])
            case Mishap.REDIS_KILLED | Mishap.REDIS_LOST:
                return self._restart_redis(data=mishap is Mishap.REDIS_KILLED)
            case Mishap.REDIS_FLUSHED:
                with fleet.redis.client() as client:
                    client.flushall()
                return True
            case Mishap.REDIS_FROZEN:
                assert fleet.redis.process is not None
                return self._halt(fleet.redis.process.pid)
            case Mishap.SERVER_KILLED:
                fleet.server.kill()
                time.sleep(self._draw.uniform(0, 1))
                fleet.server.start()
                return True
            case Mishap.SERVER_FROZEN:
                assert fleet.server.running is not None
                return self._halt(fleet.server.running.process.pid)
            case Mishap.ALL_CUT:
                fleet.wire.stop()
                fleet.wire.start()
                return True
            case Mishap.CLOCK_OFF:
                self._draw.choice(fleet.kept).set_clock(self._draw.uniform(-600, 600))
                return True
            case Mishap.CLOCK_FAR_OFF:
                kept = self._draw.choice(fleet.kept)
                kept.set_clock(self._draw.choice((-1, 1)) * self._draw.uniform(1, 72) * 3600)
                self._later(3, lambda: kept.set_clock(0))
                return True

    @property
    def _reconcilers(self) -> list[Kept]:
        return [self._fleet.reconciler] if self._fleet.reconciler else []

    def _kill_one(self, processes: list[psutil.Process]) -> bool:
        if not processes:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self._draw.choice(processes).kill()
        return True

    def _end(self, some: list[Kept], number: signal.Signals) -> bool:
        if living := list(_living(some)):
            self._draw.choice(living).signal(number)
        return bool(living)

    def _freeze(self, some: list[Kept], seconds: float) -> bool:
        living = list(_living(some))
        if not living or any(kept.frozen for kept in some):
            return False
        kept = self._draw.choice(living)
        kept.freeze()
        self._later(seconds, kept.thaw)
        return True

    def _restart_redis(self, data: bool) -> bool:
        self._fleet.redis.kill(data)
        time.sleep(self._draw.uniform(0, 1))
        self._fleet.redis.start()
        return True

    def _halt(self, pid: int) -> bool:
        """Freezes a server for a moment, in which nothing else happens."""
        process = psutil.Process(pid)
        process.suspend()
        time.sleep(self._draw.uniform(0.5, 2))
        process.resume()
        return True


def deck(draw: random.Random) -> Iterator[Mishap]:
    """Mishaps without end: each kind once, then as often as they weigh, in an order of their own each time."""
    while True:
        for cards in (list(WEIGHTS), [kind for kind, weight in WEIGHTS.items() for _ in range(weight - 1)]):
            draw.shuffle(cards)
            yield from cards


def _living(some: list[Kept]) -> Iterator[Kept]:
    return (kept for kept in some if kept.lives)
