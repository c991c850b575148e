"""Scratch folders that carry the number of their process, so that those of a killed one are found and removed."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "repoloom-crawl-"
_OWNED = re.compile(rf"{_PREFIX}(\d+)-.*")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, gone with the block."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)


def sweep() -> None:
    """Removes the scratch folders of processes that are no more."""
    with os.scandir(tempfile.gettempdir()) as found:
        orphans = [child.path for child in found if (name := _OWNED.fullmatch(child.name)) and not _runs(int(name[1]))]
    for orphan in orphans:
        shutil.rmtree(orphan, ignore_errors=True)  # another process may sweep too, another user's stay


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
