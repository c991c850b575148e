"""Scratch folders that carry the mark of their process, so that those of a killed one are found and removed."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repoloom import processes
from repoloom.scratch import scratch_errors

_PREFIX = "repoloom-crawl-"
_OWNED = re.compile(rf"{_PREFIX}(\d+\.\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, gone with the block. Raises StoreError where there can be none."""
    with scratch_errors():
        made = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{processes.mark()}-")
    with made as folder:
        yield Path(folder)


def sweep() -> None:
    """Removes the scratch folders of processes that are no more. Raises StoreError where they cannot be looked for."""
    with scratch_errors(), os.scandir(tempfile.gettempdir()) as found:
        orphans = [
            child.path for child in found if (name := _OWNED.fullmatch(child.name)) and not processes.lives(name[1])
        ]
    for orphan in orphans:
        shutil.rmtree(orphan, ignore_errors=True)  # another process may sweep too, another user's stay
