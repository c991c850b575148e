"""A program is started anew when one of its files changes."""

import os
import sys
from pathlib import Path

from repoloom.up.reload import run, versions


def test_a_changed_file_starts_the_program_anew(tmp_path: Path) -> None:
    code, log = tmp_path / "code", tmp_path / "log"
    code.mkdir()
    program = code / "program.py"
    program.write_text(
        f"import pathlib, time\nwith open({str(log)!r}, 'a') as f: f.write('first ')\n"
        f"pathlib.Path(__file__).write_text(\"with open({str(log)!r}, 'a') as f: f.write('second')\")\ntime.sleep(60)\n"
    )
    assert run([sys.executable, str(program)], lambda: versions([code])) == 0
    assert log.read_text() == "first second"


def test_a_file_that_it_has_not_loaded_starts_nothing_anew(tmp_path: Path) -> None:
    code, log, other = tmp_path / "code", tmp_path / "log", tmp_path / "code/other.py"
    code.mkdir()
    program = code / "program.py"
    program.write_text(
        f"import pathlib, time\nwith open({str(log)!r}, 'a') as f: f.write('first ')\n"
        f"pathlib.Path({str(other)!r}).touch()\ntime.sleep(2)\n"
        f"import other\ntime.sleep(2)\npathlib.Path({str(other)!r}).write_text('raise SystemExit(7)')\ntime.sleep(60)\n"
    )
    assert run([sys.executable, str(program)], lambda: versions([code])) == 7
    assert log.read_text() == "first first "


def test_a_program_that_ends_has_ended(tmp_path: Path) -> None:
    assert run([sys.executable, "-c", "raise SystemExit(3)"], lambda: versions([tmp_path])) == 3


def test_a_file_counts_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    (tmp_path / "a.txt").write_text("")
    before = versions([tmp_path])
    assert list(before) == [str(tmp_path / "a.py")]
    os.utime(tmp_path / "a.py", ns=(1, 1))
    assert versions([tmp_path]) == before
    (tmp_path / "a.py").write_text("a = 2")
    assert versions([tmp_path]) != before
