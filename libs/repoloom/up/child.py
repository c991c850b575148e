"""A child process in a group of its own, which leaves nothing of its group behind and ends with this process."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from repoloom.up.part import Part

_LAUNCH = str(Path(__file__).parent / "launch.py")
_LAST_WORDS_SECONDS = 1.0
_LOG_BYTES = 8 << 20  # of a log; what a longer one holds is set aside, and what was set aside before goes


class Child:
    """A part that was started. Only the main thread starts one: a child dies with the thread that it came from."""

    def __init__(self, part: Part) -> None:
        bound(part.log)
        with part.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), *part.command],
                stdin=subprocess.PIPE if part.feed else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(part.environment),
                process_group=0,  # Ctrl-C on the terminal is for the supervisor alone
            )
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
                stdin.write(part.feed)

    @property
    def pid(self) -> int:
        """The process, which is also its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended; it stays a zombie until `bury`, so its number is nobody else's."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def terminate(self) -> None:
        """Asks it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def abort(self) -> str:
        """Ends a process that hangs; Python, Go and Redis first say in the log where (the environment sees to it)."""
        os.kill(self.pid, signal.SIGABRT)
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while not self.ended and time.monotonic() < until:
            time.sleep(0.02)
        return self.bury()

    def bury(self) -> str:
        """Ends whatever is left of the group, and says how the process ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def bound(log: Path) -> None:
    """Sets aside what a log holds where that is too much, also of a part that goes on writing to it (it appends).

    What it writes at that very moment may be lost, and all of it where the disk is too full to set it aside.
    """
    aside = log.with_suffix(".log.1")
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            try:
                shutil.copyfile(log, aside)
            except OSError:
                aside.unlink(missing_ok=True)
            os.truncate(log, 0)
