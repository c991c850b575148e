"""Where numba keeps its compiled loops: a folder that this user can write, and that no other version's loops are in."""

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from numba import config


def use_cache_for(source: Path) -> None:
    """Has numba keep what is compiled from now on in a folder of `source`'s content, unless NUMBA_CACHE_DIR is set.

    Numba itself forgets a loop when the loop's own file changes, not when a file does whose functions it inlines.
    """
    if "NUMBA_CACHE_DIR" not in os.environ:
        version = hashlib.blake2b(source.read_bytes(), digest_size=8).hexdigest()
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder(source.parent / "__pycache__", version))
        config.reload_config()  # type: ignore[no-untyped-call]


def cache_folder(beside: Path, version: str) -> Path:
    """The folder beside the source; where that cannot be written, one of this user's for temporary files."""
    try:
        folder = beside / f"numba-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # the mode does not tell: the file system may be read-only
    except OSError:
        folder = Path(tempfile.gettempdir(), f"repoloom-numba-{os.getuid()}-{version}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if not _is_own(folder):  # what lies in a cache is run
            folder = Path(tempfile.mkdtemp(prefix="repoloom-numba-"))
    return folder


def _is_own(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
