"""A stack's folder stays where there is something in it to keep, and is one stack's."""

import fcntl
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from repoloom.errors import UnavailableError
from repoloom.up.folder import AlreadyRunningError, Folder


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


def test_a_folder_that_another_process_removes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "up")
    lock = fcntl.fcntl

    def removed_before(file: int, command: int, what: bytes) -> object:
        monkeypatch.undo()
        folder.path.rename(tmp_path / "away")
        return lock(file, command, what)

    monkeypatch.setattr(fcntl, "fcntl", removed_before)
    with folder.held():
        assert folder.data.exists()
        with pytest.raises(AlreadyRunningError), Folder(folder.path).held():
            pass


def test_who_comes_while_a_folder_is_removed_has_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "up")
    remove = shutil.rmtree
    with ExitStack() as other:

        def comes_before(path: Path, **options: Any) -> None:
            other.enter_context(folder.held())
            remove(path, **options)

        monkeypatch.setattr(shutil, "rmtree", comes_before)
        with pytest.raises(UnavailableError):
            _fail(folder)
        assert folder.logs.exists()
        assert folder.holder() is not None
        assert list(tmp_path.iterdir()) == [folder.path]
