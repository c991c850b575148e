"""A store in a local folder: objects are files, and a rename makes one visible."""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import psutil

from repoloom.errors import InputError, StoreError

_SCRATCH = ".tmp"
_serial = itertools.count()


class FolderStore:
    """Objects as files below `root`, each synced to disk and renamed into place."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self.uri = str(self.root)

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        scratch = self.root / _SCRATCH / f"{os.getpid()}-{next(_serial)}"
        with _store_errors(path):
            scratch.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _store_errors(path), scratch.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with _store_errors(path):
                scratch.replace(path)
                _sync_folder(path.parent)
        finally:
            scratch.unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        for folder, folders, names in os.walk(self._path(prefix)):
            folders[:] = sorted(name for name in folders if name != _SCRATCH)
            for name in sorted(names):
                yield str(PurePosixPath(Path(folder, name).relative_to(self.root)))

    def delete(self, key: str) -> None:
        with _store_errors(self._path(key)):
            self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes what writers that are dead left unfinished."""
        for scratch in (self.root / _SCRATCH).glob("*-*"):
            pid = scratch.name.partition("-")[0]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                scratch.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key:
            raise InputError(f"{key!r} is not a key of a store: keys are relative paths without '..'")
        return self.root.joinpath(*parts)


@contextlib.contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run again, what is committed is kept",
        errno.EDQUOT: "the disk quota is used up; free some space and run again, what is committed is kept",
        errno.EROFS: "the file system is read-only; choose another --out",
        errno.EACCES: "permission denied; choose another --out or change the folder's owner",
        errno.EPERM: "not permitted; choose another --out or change the folder's owner",
        errno.ENOTDIR: "a file stands where a folder is needed; choose another --out",
    }
    try:
        yield
    except OSError as error:
        if error.errno in reasons:
            raise StoreError(f"cannot write {path}: {reasons[error.errno]}") from error
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
