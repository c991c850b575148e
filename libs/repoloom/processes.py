"""Processes of this machine: who lives, who dies with whom, and what they hold."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
_LIBC = ctypes.CDLL(None)  # loaded here, since little may be done between fork and exec


def end_with_parent() -> None:
    """Asks that this process be killed when the thread that started it ends. It stays so over execve(2)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def mark() -> str:
    """What names this process among all that this machine has had since it started: `<pid>.<when it began>`."""
    return f"{os.getpid()}.{_began(os.getpid())}"


def lives(mark: str) -> bool:
    """Whether a process of this machine that made such a mark still runs."""
    pid, _, began = mark.partition(".")
    return str(_began(int(pid))) == began


def resident(pid: int) -> int:
    """Bytes of memory that a process and all its descendants hold (proc(5), statm); what they share counts for each."""
    own = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is no more
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return own + sum(map(resident, _children(pid)))


def _children(pid: int) -> list[int]:
    """Those of all its threads: one that is started or ends meanwhile may be missed."""
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return children


def _began(pid: int) -> int | None:
    """Clock ticks since the machine started (proc(5), starttime): process ids come back, so they alone name nobody.

    None where the process is no more; one that is dead and waits for its parent to take notice (a zombie) is no more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else int(fields[18])
