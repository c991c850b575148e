"""Processes of this machine: who lives, who dies with whom, and what they hold."""

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4  # prctl(2)
_AGAIN_SECONDS = 0.05  # in which the code that an interruption was lost in ends
_FORKED = 0x40  # of the flags in proc(5), stat: Linux' PF_FORKNOEXEC
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
_LIBC = ctypes.CDLL(None)  # loaded here, since little may be done between fork and exec


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Has SIGTERM raise KeyboardInterrupt in the block, as Ctrl-C does; either is raised again where it is lost.

    It is how a container is asked to stop, and its first process gets no signal that it does not handle. Lost is what
    is raised where nothing can be, such as in what a library's compiled code asks of Python.
    """
    before, told = signal.signal(signal.SIGTERM, signal.default_int_handler), sys.unraisablehook
    sys.unraisablehook = functools.partial(_raise_again, told)
    try:
        yield
    finally:
        sys.unraisablehook = told
        signal.signal(signal.SIGTERM, before)


def _raise_again(otherwise: Callable[["sys.UnraisableHookArgs"], Any], lost: "sys.UnraisableHookArgs") -> None:
    if isinstance(lost.exc_value, KeyboardInterrupt):
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        otherwise(lost)


def end_with_parent() -> None:
    """Asks that this process be killed when the thread that started it ends. It stays so over execve(2)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def conceal() -> None:
    """Closes this process's memory and environment, as /proc shows them, to whatever else its user runs.

    Root, where it may trace processes, still reads them. It ends with execve(2): each process asks for it itself.
    """
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_DUMPABLE, 0)


def mark() -> str:
    """What names this process among all that this machine has had since it started: `<pid>.<when it began>`."""
    return f"{os.getpid()}.{_began(os.getpid())}"


def lives(mark: str) -> bool:
    """Whether a process of this machine that made such a mark still runs."""
    pid, _, began = mark.partition(".")
    return str(_began(int(pid))) == began


def resident(pid: int) -> int:
    """Bytes of memory that a process and all its descendants hold (proc(5), statm); what they share counts for each.

    But one that was forked and has not called execve(2) yet runs in its parent's pages, and what it holds counts only
    as far as it is more than its parent's: else whoever starts a program would for that moment seem twice its size.
    """
    return _PAGE * _pages(pid, 0)


def _pages(pid: int, of_parent: int) -> int:
    shared = of_parent if _is_forked(pid) else 0  # asked first: once it says no, the pages are its own
    own = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is no more
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return max(0, own - shared) + sum(_pages(child, own) for child in _children(pid))


def _is_forked(pid: int) -> bool:
    """Whether it still runs what its parent runs."""
    stat = _stat(pid)
    return bool(stat and int(stat[6]) & _FORKED)


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
    stat = _stat(pid)
    return int(stat[19]) if stat and stat[0] not in "ZX" else None


def _stat(pid: int) -> list[str]:
    """What the machine says of a process (proc(5), stat), from its state on; nothing where it is no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat.rpartition(")")[2].split()  # the name before it may hold anything
