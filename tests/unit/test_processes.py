import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from repoloom.processes import interrupted_by_sigterm, lives, mark, resident

_LARGE = 200 << 20
_FORKS = f"""
import os, time
held = b"x" * {_LARGE}
os.fork() or ALONE
time.sleep(600)
"""
_STARTS = f"""
import os, sys
held = b"x" * {_LARGE}
waits = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.waitid(os.P_PID, os.posix_spawn("/bin/cat", ["cat"], {{}}, file_actions=[waits]), os.WEXITED)
"""


def test_a_process_that_runs_lives() -> None:
    assert lives(mark())


def test_one_that_had_the_same_number_before_does_not() -> None:
    pid, _, began = mark().partition(".")
    assert not lives(f"{pid}.{int(began) - 1}")


def test_one_that_is_dead_does_not_even_before_its_parent_takes_notice() -> None:
    program = "from repoloom.processes import mark; print(mark(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        born = child.stdout.readline().decode().strip()
        assert lives(born)
        child.stdin.write(b"\n")
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not lives(born)
    assert not lives(born)


def test_who_starts_a_program_does_not_seem_twice_its_size_at_that_moment(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    os.mkfifo(hold)  # to open it is the last thing before execve(2), and waits for somebody to write
    with _family(_STARTS, str(hold)) as (parent, child):
        assert child.memory_info().rss >= _LARGE, "it runs in its parent's memory"
        assert _LARGE <= resident(parent.pid) < 1.5 * _LARGE
        hold.write_bytes(b"")


def test_what_a_forked_process_shares_with_its_parent_counts_once() -> None:
    with _family(_FORKS.replace("ALONE", "None")) as (parent, child):
        assert child.memory_info().rss >= _LARGE
        assert _LARGE <= resident(parent.pid) < 1.5 * _LARGE


def test_what_a_forked_process_takes_for_itself_counts() -> None:
    with _family(_FORKS.replace("ALONE", f"(more := b'y' * {_LARGE})")) as (parent, child):
        until = time.monotonic() + 60
        while child.memory_info().rss < 2 * _LARGE:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert 2 * _LARGE <= resident(parent.pid) < 2.5 * _LARGE


@contextmanager
def _family(program: str, *arguments: str) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """A process that runs a program, and the one child that it makes."""
    with subprocess.Popen([sys.executable, "-c", program, *arguments]) as process:
        parent = psutil.Process(process.pid)
        try:
            until = time.monotonic() + 60
            while not (children := parent.children()):
                assert time.monotonic() < until
                time.sleep(0.01)
            yield parent, children[0]
        finally:
            for one in [*parent.children(), parent]:
                one.kill()


class _Loses:
    """Where nothing can be raised a signal comes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_is_lost_comes_again(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_by_sigterm():
        _lose_and_go_on(number)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where a shell started the tests in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _lose_and_go_on(number: int) -> None:
    _Loses(number)
    time.sleep(30)


def test_what_else_cannot_be_raised_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type))
    with interrupted_by_sigterm():
        _Loses(-1)
    assert told == [OSError]
    assert sys.unraisablehook.__name__ == "<lambda>"
