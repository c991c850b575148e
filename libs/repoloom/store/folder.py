"""A store in a local folder: objects are files, and a rename makes one visible."""

import contextlib
import errno
import fcntl
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from repoloom.errors import InputError, StoreError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Naming, named

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_SCRATCH = ".tmp"
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run again, what is committed is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run again, what is committed is kept",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EACCES: "permission denied; choose another --out or change the folder's owner",
    errno.EPERM: "not permitted; choose another --out or change the folder's owner",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another --out",
    errno.EEXIST: "a file stands where a folder is needed; choose another --out",
    errno.ENOLCK: "the file system keeps no locks; mount it so that it does, or choose another --out",
    errno.ENOSYS: "the file system keeps no locks; mount it so that it does, or choose another --out",
}


class FolderStore:
    """Objects as files below `root`, each synced to disk and renamed into place."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self.uri = str(self.root)

    @contextlib.contextmanager
    def create(self, key: Naming, heartbeat: Heartbeat = unheard) -> Iterator[BinaryIO]:
        folder = self.root / _SCRATCH
        path = self._path(key) if isinstance(key, str) else folder
        with store_errors(path):
            make_folder(folder)
            scratch = _Scratch.locked(folder, path)
        try:
            with io.BufferedWriter(scratch) as file:
                yield file
                file.flush()
                with store_errors(path):
                    os.fsync(file.fileno())
                heartbeat()
                path = self._path(named(key))
                with store_errors(path):
                    make_folder(path.parent)
                    scratch.path.replace(path)  # before it is closed: until then it is locked, and nobody sweeps it
                    _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # what cannot be removed now is swept later
                scratch.path.unlink(missing_ok=True)
            raise

    def open(self, key: str) -> io.BufferedIOBase:
        return io.BufferedReader(_Object(self._path(key)))

    def read(self, key: str) -> bytes:
        with self.open(key) as file:
            return file.read()

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with _read_errors(path):
            return path.is_file()

    def list(self, prefix: str) -> Iterator[str]:
        for folder, folders, names in os.walk(self._path(prefix), onerror=_unless_gone):
            folders[:] = sorted(name for name in folders if name != _SCRATCH)
            for name in sorted(names):
                yield str(PurePosixPath(Path(folder, name).relative_to(self.root)))

    def delete(self, key: str) -> None:
        with store_errors(self._path(key)):
            self._path(key).unlink(missing_ok=True)

    def sweep(self) -> None:
        kept = (BlockingIOError, FileNotFoundError, PermissionError)  # it is alive, an object by now, another user's
        for scratch in (self.root / _SCRATCH).glob("*"):
            with store_errors(scratch), contextlib.suppress(*kept), scratch.open("r+b") as file:  # r+: NFS asks for it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.unlink()

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key:
            raise InputError(f"{key!r} is not a key of a store: keys are relative paths without '..'")
        return self.root.joinpath(*parts)


class _Object(io.FileIO):
    """An object that is read. Raises FileNotFoundError when made, StoreError where the disk or the mount fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _read_errors(path):
            super().__init__(path)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with _read_errors(self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _read_errors(self._path):
            return super().readall()


class _Scratch(io.FileIO):
    """An object while it is written; a refused write says for which object it was.

    Its writer holds a lock on it, which the kernel drops with the writer's last descriptor, on whatever machine and in
    whatever container: so whoever gets the lock may remove the file.
    """

    def __init__(self, scratch: Path, path: Path) -> None:
        super().__init__(scratch, "xb")
        self.path = scratch
        self._object = path

    @classmethod
    def locked(cls, folder: Path, path: Path) -> "_Scratch":
        """A new one, of a name that no other has or had."""
        while True:
            scratch = cls(folder / secrets.token_hex(16), path)
            fcntl.flock(scratch, fcntl.LOCK_EX)
            if scratch.path.exists():  # else it was swept before it was locked
                return scratch
            scratch.close()

    def write(self, content: "ReadableBuffer") -> int:
        with store_errors(self._object):
            return super().write(content)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Says of an error of the file system which file could not be written, and why. Raises StoreError."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise StoreError(f"cannot write {path}: {reason}") from error


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """The same of what could not be read; what is not there stays not found. Raises FileNotFoundError, StoreError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _unless_gone(error: OSError) -> None:
    """A folder that is not there holds nothing; of one that cannot be looked into, nobody knows. Raises StoreError."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreError(f"cannot list {error.filename}: {error.strerror}") from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing, each of which is synced to disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
