"""A process that is started again whenever it dies, and what it said each time."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PAUSE = 0.5  # seconds from a death to the next start


@dataclass
class Kept:
    """A process of the fleet with a clock of its own."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    finished: Callable[[int], bool] = lambda _: False  # whether an exit status means that its work is done
    process: "subprocess.Popen[bytes] | None" = None
    frozen: bool = False
    done: bool = False
    gave_up: list[str] = field(default_factory=list)
    """What it said each time it ended of itself and was not done."""
    _expected: bool = False
    _starts: int = 0
    _again: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.set_clock(0)

    def tend(self) -> None:
        """Starts it if it does not run and is not done."""
        if self.done or self.frozen:
            return
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process, self._again = None, time.monotonic() + _PAUSE
            if self.finished(code):
                self.done = True
            elif not self._expected:
                self.gave_up.append(f"{self.name} ended with {code}: {self.said('err')[-600:].strip()}")
            self._expected = False
        if self.process is None and not self.done and time.monotonic() >= self._again:
            self._start()

    def said(self, stream: str) -> str:
        """What it wrote to out or err since it was last started."""
        path = self.folder / f"{self._starts}.{stream}"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def set_clock(self, seconds: float) -> None:
        """Makes its clock wrong by so many seconds."""
        new = self.folder / "clock.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "clock")

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None and not self.frozen

    def family(self) -> list[psutil.Process]:
        """It and all below it."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def signal(self, number: signal.Signals) -> None:
        """Sends it, not its children, a signal that ends it."""
        if self.process is not None:
            self._expected = True
            self.process.send_signal(number)

    def freeze(self) -> None:
        self.frozen = True
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self.frozen = False

    def stop(self) -> None:
        """Ends it in order, with SIGKILL where that takes too long; it is not started again."""
        self.done = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _start(self) -> None:
        self._starts += 1
        with (
            (self.folder / f"{self._starts}.out").open("wb") as out,
            (self.folder / f"{self._starts}.err").open("wb") as err,
        ):
            environment = {**os.environ, **self.environment, "CHAOS_CLOCK": str(self.folder / "clock")}
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=self.folder
            )
