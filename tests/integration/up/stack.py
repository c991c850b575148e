"""`repoloom up` in a process of its own, and other commands beside it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from repoloom.up import launch
from repoloom.up.folder import Folder
from repoloom.up.record import PartRecord, StackRecord, read_record
from repoloom.up.surroundings import read_env

_MAIN = [sys.executable, "-P", "-c", "from repoloom.cli import main; main()"]
_WITH_US = [sys.executable, launch.__file__, str(os.getpid())]  # tests that are killed leave nothing behind
_NOT_OURS = re.compile(r"REPOLOOM_|AWS_(?!CA_BUNDLE)")
BUILD = "up-under-test"  # others may change the sources meanwhile, and with them the fingerprint


def eventually(holds: Callable[[], Any], within: float = 150) -> Any:
    """Waits until something holds, and returns it."""
    until = time.monotonic() + within
    while not (held := holds()):
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.1)
    return held


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would lead a command to servers of somebody else's."""
    kept = {name: value for name, value in os.environ.items() if not _NOT_OURS.match(name)}
    return {**kept, "REPOLOOM_BUILD": BUILD, "COLUMNS": "200", "PYTHONWARNINGS": "ignore", **more}


def repoloom(
    *arguments: object, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    return subprocess.run(
        [*_MAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=clean_environment(**(environment or {})),
        cwd=cwd,
        timeout=250,
    )


@dataclass
class Stack:
    """A stack that runs."""

    process: "subprocess.Popen[bytes]"
    folder: Folder
    out: Path

    @classmethod
    def start(cls, path: Path, *options: object, environment: Mapping[str, str] | None = None) -> "Stack":
        """Starts it; `ready` waits for it."""
        path.parent.mkdir(exist_ok=True)
        out = path.parent / f"{path.name}.out"
        with out.open("ab") as file:
            process = subprocess.Popen(
                [*_WITH_US, *_MAIN, "up", "--folder", str(path), "--port", "0", "--workers", "1", *map(str, options)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=clean_environment(**(environment or {})),
            )
        return cls(process, Folder(path), out)

    @property
    def record(self) -> StackRecord:
        """What `up.json` says."""
        found = read_record(self.folder)
        assert found is not None
        return found

    @property
    def env(self) -> dict[str, str]:
        """What `env` exports."""
        return read_env(self.folder)

    def ready(self) -> "Stack":
        """Waits until all is up."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.out.read_text()
            found = read_record(self.folder)
            return found is not None and found.ready and found.pid == self.process.pid

        eventually(is_ready)
        return self

    def part(self, name: str) -> PartRecord:
        """A part as it stands."""
        return next(part for part in self.record.parts if part.name == name)

    def processes(self) -> list[psutil.Process]:
        """All that descend from it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        """Asks it to end, and waits."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def kill(self) -> None:
        """Ends it at once; its parts end with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
