import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl.client import Client, Job
from repoloom.stages.crawl.errors import (
    OverdueError,
    RepositoryTooLargeError,
    SourceUnavailableError,
    UnreadableSourceError,
)

PYTHON = Client(sys.executable, "the usual way")


def job(folder: Path, **fields: Any) -> Job:
    return Job(
        **{
            "subject": "x 1.0",
            "folder": folder,
            "environment": {},
            "timeout": 60.0,
            "max_file_bytes": 1 << 20,
            **fields,
        }
    )


def run(folder: Path, program: str, **fields: Any) -> bytes:
    return PYTHON.run(job(folder, **fields), "-c", program)


def test_what_a_program_says_comes_back(tmp_path: Path) -> None:
    assert run(tmp_path, "print('hello')") == b"hello\n"


def test_a_missing_program_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(
        SourceUnavailableError, match=r"x 1\.0: no-such-program is not installed; install it with: apt-get install it"
    ):
        Client("no-such-program", "apt-get install it").run(job(tmp_path))


_TELL = "#!/bin/sh\necho fatal: $HOME ${AWS_SECRET_ACCESS_KEY-none} >&2; exit 1\n"
SOURCES = [
    {"kind": "npm", "name": "x", "version": "1.0.0"},
    {"kind": "git", "url": "https://host/x"},
    {"kind": "debian", "name": "xx", "version": "1"},
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source["kind"])
def test_every_source_says_which_client_is_missing(
    source: dict[str, str], crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError, match="is not installed; install it with: "):
        crawl(**source)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source["kind"])
def test_no_client_is_told_what_opens_the_store(
    source: dict[str, str], crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("npm", "git", "apt-get", "apt-config"):
        (tmp_path / program).write_text(_TELL)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", "/a/home")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    with pytest.raises(SourceUnavailableError, match=r": /a/home none$"):
        crawl(**source)


def test_a_program_that_fails_is_quoted_without_credentials(tmp_path: Path) -> None:
    complaint = "fatal: unable to access 'https://name:secret@host/x': no"
    with pytest.raises(SourceUnavailableError) as caught:
        run(tmp_path, f"import sys; print('noise', file=sys.stderr); sys.exit({complaint!r})")
    assert str(caught.value) == "x 1.0: unable to access 'https://host/x': no"


def test_a_program_that_takes_too_long_ends_with_its_children(tmp_path: Path) -> None:
    started = time.monotonic()
    hang = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with pytest.raises(SourceUnavailableError, match=r"was not done after 0\.5 s"):
        run(tmp_path, hang, timeout=0.5)
    assert time.monotonic() - started < 300


def test_a_program_that_fills_the_disk_is_stopped(tmp_path: Path) -> None:
    fill = "f = open('x', 'wb', 0)\nwhile True: f.write(bytes(1 << 16))"
    with pytest.raises(RepositoryTooLargeError, match="more than 1048576 bytes; max_repository_bytes"):
        run(tmp_path, f"import time; time.sleep(0.2)\n{fill}")
    assert (tmp_path / "x").stat().st_size <= 1 << 20


def test_nothing_is_left_behind_where_the_reader_stops_early(tmp_path: Path) -> None:
    endless = "while True: print('x' * 1000)"
    with pytest.raises(KeyError), PYTHON.start(job(tmp_path), "-c", endless) as process:
        raise KeyError
    assert process.poll() is not None


def test_a_reader_that_meets_output_cut_off_by_the_timer_reports_the_timer(tmp_path: Path) -> None:
    def read() -> None:
        with PYTHON.start(job(tmp_path, timeout=0.5), "-c", "import time; time.sleep(600)") as process:
            assert process.stdout is not None
            assert process.stdout.read() == b""
            raise UnreadableSourceError("its output ends in the middle")

    with pytest.raises(OverdueError, match=r"was not done after 0\.5 s"):
        read()


_OWNER = """
import sys, os
from pathlib import Path
from repoloom.stages.crawl.client import Client, Job
program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
with Client(sys.executable, "").start(Job("x", Path("."), os.environ, 600, 1 << 20), "-c", program) as process:
    print(process.stdout.readline().decode(), flush=True)
    process.stdout.read()
"""


def test_a_client_ends_with_a_process_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        client = os.pidfd_open(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
    assert select.select([client], [], [], 60) == ([client], [], [])  # a pidfd is readable when its process has ended
    os.close(client)
