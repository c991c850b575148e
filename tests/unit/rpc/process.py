"""A real `repoloom-service` in a process of its own: where it listens, and what it takes.

It stays open to its user, who else could not count its files.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import psutil

START_SECONDS = 120
STOP_SECONDS = 60


_OPEN = "import repoloom_services.main as service; service.conceal = lambda: None; service.main()"


class Usage(NamedTuple):
    """What a process holds."""

    memory: int  # resident bytes
    files: int  # open descriptors
    threads: int


class ServiceProcess:
    """A service while the block runs, and ended by SIGTERM."""

    def __init__(self, name: str, store: Path, log: Path, *arguments: str, **environment: str) -> None:
        self._command = [sys.executable, "-P", "-c", _OPEN, name, "--store", str(store)]
        self._command += ["--address", "127.0.0.1:0", *arguments]
        self._environment = _clean(os.environ) | environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> "ServiceProcess":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        until = time.monotonic() + START_SECONDS
        while not (serving := [line for line in self.lines() if line.get("message") == "serving"]):
            if not self.alive or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"the service did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        self.address = serving[0]["address"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        return self._running.poll() is None

    @property
    def usage(self) -> Usage:
        """What the process itself holds now, without its children."""
        process = psutil.Process(self._running.pid)
        return Usage(process.memory_info().rss, process.num_fds(), process.num_threads())

    @property
    def processor_seconds(self) -> float:
        """Processor time of the process and its children so far."""
        process = psutil.Process(self._running.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))

    def settled(self, wanted: Callable[[Usage], bool], seconds: float = 60) -> Usage:
        """What it holds as soon as that is as wanted, or after some seconds."""
        until = time.monotonic() + seconds
        while not wanted(usage := self.usage) and time.monotonic() < until:
            time.sleep(0.1)
        return usage

    def lines(self) -> list[dict[str, str]]:
        """The lines of the log that are JSON objects."""
        return [json.loads(line) for line in self._log.read_text(errors="replace").splitlines() if line[:1] == "{"]

    def outcries(self) -> list[str]:
        """The lines that are no JSON objects: what Python, or a library, printed when something went very wrong."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line[:1000] for line in lines if line.startswith(("Traceback", "Fatal", "thread '", "Exception "))]

    def terminate(self) -> None:
        self._running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._running.kill()
        self._running.wait()

    def wait(self) -> int:
        return self._running.wait(STOP_SECONDS)

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(("REPOLOOM_", "AWS_"))}
