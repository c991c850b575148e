"""A whole fleet on this machine: Redis, an S3 server behind a faulty wire, workers, a reconciler, a service."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import s3_servers
from fleet import Redis, free_port
from kept import Kept
from s3_servers import S3Server
from storm_corpus import ATTEMPTS, TASK_BYTES, TASK_SECONDS
from wire import Wire

from repoloom.client.filter import Filter
from repoloom.engine.queue.pace import Pace
from repoloom.errors import RepoloomError, UnavailableError

PACE = Pace(heartbeat=0.3, claim=4, look=0.5, grace=3, overdue=5, patience=120, drain=3, visibility=20)
MARK = "CHAOS_MARK"
_DISTURBED = Path(__file__).parent / "disturbed"
_REPOLOOM = (sys.executable, "-c", "from repoloom.cli import main; main()")
_SERVICE = (sys.executable, "-c", "from repoloom_services.main import main; main()")


@dataclass
class Server:
    """An S3 server that is killed and started again with what it had."""

    kind: str
    folder: Path
    address: str = ""
    _secret: str = ""
    _life: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    running: S3Server | None = None

    def start(self) -> None:
        port = int(self.address.rpartition(":")[2]) if self.address else None
        self._life = contextlib.ExitStack()
        self.running = self._life.enter_context(s3_servers.serve(self.kind, self.folder, port, self._secret or None))
        self.address, self._secret = self.running.address, self.running.secret_key

    def kill(self) -> None:
        self.running = None
        self._life.close()  # ends it with SIGKILL

    def environment(self, address: str | None = None) -> dict[str, str]:
        """What makes a process use it, directly or by way of another address."""
        return S3Server(self.kind, self.address, self._secret, None).environment(address)  # type: ignore[arg-type]


class Job:
    """A batch job of the filter, started and followed by a client that asks until it is told."""

    def __init__(self, port: int, inputs: str, output: str) -> None:
        self.digest: str | None = None
        self.failure: str | None = None
        self._over = threading.Event()
        self._port = port
        self._request = {"inputs": [inputs], "output": output, "request_id": output.rpartition("/")[2]}
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self.digest is not None or self.failure is not None

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self.ended and not self._over.is_set():
            try:
                with Filter(f"127.0.0.1:{self._port}") as client:
                    operation = client.start(
                        **self._request, task_bytes=TASK_BYTES, attempts=ATTEMPTS, seconds=TASK_SECONDS
                    )
                    while not operation.done and not self._over.is_set():
                        time.sleep(0.5)
                        operation.refresh()
                if operation.done:
                    self.digest = operation.result.datasets[-1].digest
            except UnavailableError:
                time.sleep(0.5)
            except RepoloomError as error:
                self.failure = f"{type(error).__name__}: {error}"


@dataclass
class StormyFleet:
    """All processes of one storm."""

    folder: Path
    recipe: Path
    seed: int
    server: Server
    redis: Redis
    wire: Wire
    mark: str
    workers: list[Kept] = field(default_factory=list)
    service: Kept = field(init=False)
    reconciler: Kept | None = None
    service_port: int = field(default_factory=free_port)

    @property
    def root(self) -> str:
        """Below which all datasets lie."""
        return f"s3://tests/seed-{self.seed}"

    @property
    def runs_log(self) -> Path:
        return self.folder / "runs"

    @property
    def kept(self) -> list[Kept]:
        return [*self.workers, self.service, *([self.reconciler] if self.reconciler else [])]

    def __post_init__(self) -> None:
        for number in range(2):
            self.workers.append(self._keep(f"worker-{number}", *_REPOLOOM, "worker", "--concurrency", "1"))
        address = f"127.0.0.1:{self.service_port}"
        self.service = self._keep("service", *_SERVICE, "filter", "--store", self.root, "--address", address)

    def begin_run(self, number: int) -> str:
        """Has the reconciler bring a run to be; returns the run's address."""
        store = f"{self.root}/run-{number}"
        out = str(self.folder / f"out-{number}")
        command = (*_REPOLOOM, "run", str(self.recipe), "--engine", "celery", "--store", store, "--out", out, "--json")
        self.reconciler = self._keep(f"reconciler-{number}", *command)
        self.reconciler.finished = lambda code: code == 0
        return store

    def tend(self) -> None:
        for kept in self.kept:
            kept.tend()

    def left(self) -> list[psutil.Process]:
        """The processes of the fleet that live."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def stop(self) -> None:
        """Ends all in order."""
        for kept in self.kept:
            kept.thaw()
        for kept in self.kept:
            kept.stop()

    def kill_all(self) -> None:
        for process in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
        return False

    def _keep(self, name: str, *command: str) -> Kept:
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        environment = {
            **self.server.environment(self.wire.address),
            **self.redis.environment,
            "REPOLOOM_BUILD": f"storm-{self.seed}",
            "REPOLOOM_STORE_ROOTS": self.root,
            "REPOLOOM_CRAWL_ALLOW": "local-files",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_DISTURBED), os.environ.get("PYTHONPATH")))),
            "PYTHONWARNINGS": "ignore",  # Celery's at being run by root
            "TMPDIR": str(scratch),
            "COLUMNS": "200",
            "CHAOS_PACE": PACE.model_dump_json(),
            "CHAOS_RUNS": str(self.runs_log),
            MARK: self.mark,
        }
        return Kept(name, command, environment, self.folder / name)


@contextlib.contextmanager
def a_stormy_fleet(folder: Path, recipe: Path, seed: int, kind: str) -> Iterator[StormyFleet]:
    """A Redis, a server and a wire that run, and a fleet that is not tended yet; nothing of it is left afterwards."""
    server, redis = Server(kind, folder / "s3"), Redis(folder / "redis")
    server.start()
    redis.start()
    try:
        with Wire(server.address, seed) as wire:
            fleet = StormyFleet(folder, recipe, seed, server, redis, wire, f"{os.getpid()}-{folder}")
            try:
                yield fleet
            finally:
                fleet.kill_all()
                for kept in fleet.kept:
                    kept.stop()
    finally:
        redis.kill(data=True)
        server.kill()


def digests(said: str) -> dict[str, str]:
    """The digest of each step's dataset, from what `repoloom run --json` printed."""
    found: dict[str, str] = json.loads(said)["steps"]
    return found
