"""Holding an output: of two commands that would write below one folder, the second is refused while the first runs."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from repoloom.errors import UnavailableError
from repoloom.recipe.sections import step_names
from repoloom.store import open_store
from repoloom.store.folder import FolderStore, make_folder, store_errors

_LOCK = ".lock"


class HeldError(UnavailableError):
    """Another command writes to the output."""


@contextlib.contextmanager
def hold(*outs: str) -> Iterator[None]:
    """Holds the outputs at some addresses while the block runs; the kernel lets go of them when this process ends.

    An output on S3 is not held: nothing there ends with a process. Raises HeldError, StoreError.
    """
    stores = map(open_store, outs)
    with contextlib.ExitStack() as held:
        for folder in sorted({store.root.resolve() for store in stores if isinstance(store, FolderStore)}):
            held.enter_context(_held(folder))
        yield


@contextlib.contextmanager
def hold_around(dataset: str) -> Iterator[None]:
    """Holds the output that a dataset lies in, OUT of OUT/<step>, or the dataset alone where it was put elsewhere."""
    store = open_store(dataset)
    if isinstance(store, FolderStore) and store.root.name in step_names():
        dataset = str(store.root.parent)
    with hold(dataset):
        yield


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    path = folder / _LOCK
    with contextlib.ExitStack() as opened:
        with store_errors(path):
            make_folder(folder)
            file = opened.enter_context(path.open("a+", encoding="utf-8"))
            free = _lock(file)
        if not free:
            file.seek(0)
            raise HeldError(f"{folder} is in use by {file.read() or 'another command'}; wait until it ends, or stop it")
        with store_errors(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}")
            file.flush()
        yield


def _lock(file: TextIO) -> bool:
    """Whether this process has the file now. A child that outlives it has not, as it would have a lock of flock(2)."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
