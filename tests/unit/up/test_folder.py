"""A stack's folder stays where there is something in it to keep."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from repoloom.errors import UnavailableError
from repoloom.up.folder import Folder


def _fail(folder: Folder, *logs: Path) -> None:
    """A start that makes the folder, writes to the logs, and fails."""
    with folder.unless_unused(), folder.held():
        folder.secrets()
        for log in logs:
            log.touch()
        raise UnavailableError("a port is taken")


def test_a_folder_that_was_made_for_nothing_is_gone(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "up")
    for logs in ((), (folder.own_log,)):
        with pytest.raises(UnavailableError):
            _fail(folder, *logs)
        assert not folder.path.exists()


def test_a_folder_in_which_a_part_was_started_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "up")
    with pytest.raises(UnavailableError):
        _fail(folder, folder.logs / "redis.log")
    assert folder.token.exists()


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        _fail(Folder(tmp_path))
    assert tmp_path.exists()


def test_a_folder_that_another_process_has_taken_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "up")
    with ExitStack() as other:

        def taken() -> None:
            with folder.unless_unused():
                other.enter_context(folder.held())
                raise UnavailableError("who waited for it gives up")

        with pytest.raises(UnavailableError):
            taken()
        assert folder.path.exists()
