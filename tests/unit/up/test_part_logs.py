"""The logs of parts stay small, however long a part runs."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repoloom.up import child
from repoloom.up.part import Part
from repoloom.up.supervisor import Watched

_PROGRAM = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("x" * 2000, flush=True)
signal.sigwait([signal.SIGUSR1])
print("more", flush=True)
signal.pause()
"""


def test_a_log_that_grows_too_long_is_set_aside_while_the_part_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_LOG_BYTES", 1000)
    log = tmp_path / "part.log"
    command = (sys.executable, "-c", _PROGRAM)
    watched = Watched(Part("part", "", command, {}, log, answers=lambda _: True, grace=1))
    watched.start()
    assert watched.child is not None
    try:
        _wait_for(log, 2001)
        with ThreadPoolExecutor(1) as executor:
            watched.tend(executor)
        assert (tmp_path / "part.log.1").read_text() == "x" * 2000 + "\n"
        os.kill(watched.child.pid, signal.SIGUSR1)
        _wait_for(log, 5)
        assert log.read_text() == "more\n"
    finally:
        watched.child.bury()


def test_a_log_that_grows_too_long_is_emptied_also_where_the_disk_has_no_room_to_set_it_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_LOG_BYTES", 1000)
    log, aside = tmp_path / "part.log", tmp_path / "part.log.1"
    log.write_text("x" * 2000)
    aside.symlink_to("/dev/full")
    child.bound(log)
    assert log.read_text() == ""
    assert not aside.is_symlink(), "what took the room has gone"


def _wait_for(log: Path, size: int) -> None:
    until = time.monotonic() + 60
    while log.stat().st_size < size:
        assert time.monotonic() < until
        time.sleep(0.01)
