"""Local copies of what lies elsewhere: fetched once, kept while there is room, gone with the process."""

import atexit
import contextlib
import fcntl
import functools
import io
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repoloom.scratch import create_scratch, scratch_errors, scratch_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FOLDERS = "repoloom-copies-"
_LOCK = "lock"
_READ_AHEAD = 1 << 20

Fetch = Callable[[BinaryIO], None]
"""Writes the content of one copy. What it raises is raised."""


class LocalCopies:
    """The copies used last, in files that have no name, so that even a killed process leaves none behind."""

    def __init__(self, most_bytes: int, most_files: int) -> None:
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._held: OrderedDict[str, tuple[int, int]] = OrderedDict()  # descriptor and size
        self._lock = threading.Lock()

    def open(self, name: str, fetch: Fetch) -> io.BufferedIOBase:
        """A reader of the copy of that name, which is fetched where it is not held. Raises StoreError."""
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
                return _reader(self._held[name][0])
        with scratch_file(_FOLDERS) as file:
            fetch(file)
            file.flush()
            reader, held = _reader(file.fileno()), os.dup(file.fileno())
        with self._lock:
            replaced = self._held.pop(name, None)  # another thread was as fast
            self._held[name] = held, os.fstat(held).st_size
            if replaced is not None:
                os.close(replaced[0])
            self._make_room()
        return reader

    def _make_room(self) -> None:
        while len(self._held) > self._most_files or sum(size for _, size in self._held.values()) > self._most_bytes:
            _, (descriptor, _) = self._held.popitem(last=False)
            os.close(descriptor)  # its space is free once the last reader is closed too


def named_copy(name: str, fetch: Fetch) -> Path:
    """The path of a copy, for readers that map files into memory. It lasts as long as this process."""
    with scratch_errors():
        path = _folder(os.getpid()) / name
    if not path.exists():
        unfinished = path.with_name(f"{name}.{threading.get_ident()}")
        with create_scratch(unfinished) as file:
            fetch(file)
        with scratch_errors():
            unfinished.replace(path)
    return path


def _reader(descriptor: int) -> io.BufferedIOBase:
    return io.BufferedReader(_Positioned(os.dup(descriptor)), _READ_AHEAD)


class _Positioned(io.RawIOBase):
    """A file with a position of its own, apart from that of the descriptor, which others read from."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = os.fstat(self._descriptor).st_size
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@functools.cache
def _folder(process: int) -> Path:
    """The folder of a process. It is locked as long as the process lives, so that others know when it may go."""
    _remove_orphans()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDERS))
    new = folder / f"{_LOCK}.new"
    lock = new.open("wb")  # never closed: the lock ends with the process
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.replace(folder / _LOCK)

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()

    atexit.register(remove)
    return folder


def _remove_orphans() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as held:  # another's, or one that lives
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
