"""One command at a time writes to an output."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from repoloom.recipe.hold import HeldError, hold, hold_around

_HOLDER = """
import os, sys, time
from repoloom.recipe.hold import hold
with hold(*sys.argv[1:]):
    child = os.fork() or time.sleep(600)
    print("held", flush=True)
    input()
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out"


@pytest.fixture
def holder(out: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the output, and has a child."""
    command = [sys.executable, "-c", _HOLDER, str(out), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        children = psutil.Process(process.pid).children()
        try:
            yield process
        finally:
            for one in (*children, process):
                one.kill()


def test_a_held_output_is_refused_with_the_name_of_the_process_that_holds_it(
    out: Path, holder: "subprocess.Popen[bytes]"
) -> None:
    said = f"{out} is in use by process {holder.pid} on {os.uname().nodename}; wait"
    for address in (out, f"file://{out}", f"{out.parent}/../deep/out"):
        with pytest.raises(HeldError, match=re.escape(said)), hold(str(address)):
            pass
    with pytest.raises(HeldError, match=re.escape(said)), hold(str(out.parent / "free"), str(out)):
        pass


@pytest.mark.usefixtures("holder")
def test_a_dataset_is_held_with_the_output_it_lies_in(out: Path) -> None:
    with pytest.raises(HeldError), hold_around(str(out / "dedup.bands")):
        pass
    with hold_around(str(out / "mine")):
        pass


def test_who_is_killed_holds_nothing_though_a_child_lives_on(out: Path, holder: "subprocess.Popen[bytes]") -> None:
    (child,) = psutil.Process(holder.pid).children()
    holder.kill()
    holder.wait()
    with hold(str(out)):
        assert child.is_running()
