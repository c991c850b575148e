import os
import subprocess
import sys

from repoloom.processes import lives, mark


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
