import os
import subprocess
import sys
from pathlib import Path

import pytest

from repoloom.jobs.runner import VARIABLE, Charge
from repoloom.jobs.settings import JobSettings
from repoloom.programs import environment

# Ends root's rights to look into any process, for whatever is started from here on: setpriv(1), capabilities(7).
_WITHOUT_RIGHTS_OF_ROOT = ("setpriv", "--bounding-set", "-sys_ptrace,-sys_admin,-perfmon") if os.geteuid() == 0 else ()
_LET_A_PROGRAM_READ = """
import atexit, os, subprocess, sys
def let_a_program_read():
    said = subprocess.run(["cat", f"/proc/{os.getpid()}/environ"], env={"PATH": "/bin:/usr/bin"}, capture_output=True)
    print("read" if b"A_SECRET=" in said.stdout else said.stderr.decode(), file=sys.stderr)
atexit.register(let_a_program_read)
sys.argv = ["", "filter", "some-job"]
"""


def test_a_program_is_told_of_the_machine_and_of_what_it_heeds(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "LC_TIME": "C",
        "https_proxy": "http://proxy",
        "npm_config_//host/:_authToken": "of npm",
        "NPM_TOKEN": "too",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert told.items() <= environment("npm_config_*", "NPM_TOKEN").items()


@pytest.mark.parametrize(
    "secret", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "REPOLOOM_REDIS_PASSWORD", "REPOLOOM_REDIS_URL", "A_TOKEN"]
)
def test_nothing_else_is_told(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(secret, "secret")
    assert secret not in environment()


def test_a_program_reads_nothing_of_a_process_that_closes_itself() -> None:
    assert "read" in _read_by_a_program_of("pass")
    assert "Permission denied" in _read_by_a_program_of("from repoloom.processes import conceal; conceal()")


@pytest.mark.parametrize(
    "process",
    [
        "from repoloom.cli import main; main()",
        "from repoloom_services.main import main; main()",
        "from repoloom.engine.worker import main; main()",
        "from repoloom.jobs.runner import main; main()",
        "import repoloom.engine.queue.serving",
    ],
)
def test_each_process_that_knows_secrets_closes_itself(process: str, tmp_path: Path) -> None:
    charge = Charge(settings=JobSettings(root=str(tmp_path)), stages=(), runner="", keeper=os.getpid())
    assert "Permission denied" in _read_by_a_program_of(process, {VARIABLE: charge.model_dump_json()})


def _read_by_a_program_of(process: str, told: dict[str, str] | None = None) -> str:
    """What a program says that a process starts at its end, and that is to read this one's environment."""
    return subprocess.run(
        [*_WITHOUT_RIGHTS_OF_ROOT, sys.executable, "-c", _LET_A_PROGRAM_READ + process],
        env={"PATH": os.environ["PATH"], "A_SECRET": "secret", **(told or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    ).stderr
