"""A store in a local folder: objects are files, and a rename makes one visible."""

import contextlib
import errno
import glob
import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from repoloom import processes
from repoloom.errors import InputError, StoreError
from repoloom.store import Naming, named

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SCRATCH = ".tmp"
_HOST = os.uname().nodename
_serial = itertools.count()
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run again, what is committed is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run again, what is committed is kept",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EACCES: "permission denied; choose another --out or change the folder's owner",
    errno.EPERM: "not permitted; choose another --out or change the folder's owner",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another --out",
    errno.EEXIST: "a file stands where a folder is needed; choose another --out",
}


class FolderStore:
    """Objects as files below `root`, each synced to disk and renamed into place."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self.uri = str(self.root)

    @contextlib.contextmanager
    def create(self, key: Naming) -> Iterator[BinaryIO]:
        scratch = self.root / _SCRATCH / f"{_HOST}-{processes.mark()}-{next(_serial)}"
        path = self._path(key) if isinstance(key, str) else scratch
        with _store_errors(path):
            scratch.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _store_errors(path):
                file = io.BufferedWriter(_Scratch(scratch, path))
            with file:
                yield file
                file.flush()
                with _store_errors(path):
                    os.fsync(file.fileno())
            path = self._path(named(key))
            with _store_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                scratch.replace(path)
                _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # what cannot be removed now is swept later
                scratch.unlink(missing_ok=True)
            raise

    def open(self, key: str) -> io.BufferedIOBase:
        try:
            return self._path(key).open("rb")
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error

    def read(self, key: str) -> bytes:
        with self.open(key) as file:
            return file.read()

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
        for scratch in (self.root / _SCRATCH).glob(f"{glob.escape(_HOST)}-*-*"):
            host, writer, _ = scratch.name.rsplit("-", 2)
            if host == _HOST and not processes.lives(writer):
                with _store_errors(scratch):
                    scratch.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key:
            raise InputError(f"{key!r} is not a key of a store: keys are relative paths without '..'")
        return self.root.joinpath(*parts)


class _Scratch(io.FileIO):
    """An object while it is written; a refused write says for which object it was."""

    def __init__(self, scratch: Path, path: Path) -> None:
        super().__init__(scratch, "wb")
        self._path = path

    def write(self, content: "ReadableBuffer") -> int:
        with _store_errors(self._path):
            return super().write(content)


@contextlib.contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise StoreError(f"cannot write {path}: {reason}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
