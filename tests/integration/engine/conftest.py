"""Puts the probe stage and its runs at the tests' hand."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repoloom.stages

_TESTS = Path(__file__).parents[2]
EXTRA_STAGES = _TESTS / "extra_stages"
sys.path += [str(EXTRA_STAGES), str(_TESTS / "faults")]
repoloom.stages.__path__.append(str(EXTRA_STAGES / "stages"))

from probing import Disk, Probe  # noqa: E402 - it lies in the folder just added


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=64k repoloom '{folder}' && echo mounted && exec cat"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"mounted\n"
        yield Disk(keeper, str(folder))
        keeper.kill()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run as it is without any disturbance."""
    ended = Probe(tmp_path_factory.mktemp("undisturbed")).run()
    assert ended.digest is not None, ended.error
    return ended.digest
