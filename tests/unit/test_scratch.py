"""What fails in scratch space is said to be there, and what fails where a copy comes from is not."""

import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from repoloom.corpus.local_copies import LocalCopies, named_copy
from repoloom.errors import StoreError
from repoloom.scratch import create_scratch, scratch_file, scratch_folder

TOO_MUCH = bytes(1 << 20)


@pytest.fixture
def full() -> Iterator[None]:
    """No file may grow beyond 100 kB."""
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


def _write_too_much(file: BinaryIO) -> None:
    with file:
        file.write(TOO_MUCH)


@pytest.mark.usefixtures("full")
def test_a_full_scratch_folder_is_said_to_be_one(tmp_path: Path) -> None:
    for act in (
        lambda: _write_too_much(scratch_file("test-")),
        lambda: _write_too_much(create_scratch(tmp_path / "copy")),
        lambda: LocalCopies(1, 1).open("copy", _write_too_much),
        lambda: named_copy("too much", _write_too_much),
    ):
        with pytest.raises(StoreError, match=r"cannot keep a local copy in .*: File too large; free some space there"):
            act()


def test_where_there_is_no_scratch_folder_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(StoreError, match="cannot keep a local copy in /nowhere/at/all"):
        scratch_file("test-")
    with pytest.raises(StoreError, match="set TMPDIR"), scratch_folder("test-"):
        pass


def test_what_is_not_there_to_be_copied_is_not_found() -> None:
    def fetch(_: BinaryIO) -> None:
        raise FileNotFoundError("no such object")

    with pytest.raises(FileNotFoundError, match="no such object"):
        LocalCopies(1, 1).open("copy", fetch)
    with pytest.raises(FileNotFoundError, match="no such object"):
        named_copy("not there", fetch)


def test_what_is_written_is_read_again() -> None:
    with scratch_file("test-") as file:
        file.write(TOO_MUCH)
        file.seek(10)
        file.write(b"x")
        file.seek(0)
        assert file.read() == TOO_MUCH[:10] + b"x" + TOO_MUCH[11:]
