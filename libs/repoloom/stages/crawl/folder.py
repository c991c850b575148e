"""The files of a folder of this machine: no link is followed, no special file is opened."""

import functools
import io
import os
import re
import stat
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from repoloom.errors import InputError
from repoloom.stages.crawl.entry import Entry, Refusal
from repoloom.stages.crawl.limits import Limits

_PLACES = {"{stdlib}": "stdlib", "{site-packages}": "purelib"}
_NO_REPOSITORY = re.compile(r"\..*|__pycache__|(site|dist)-packages|.*\.(dist|egg)-info")
"""What lies beside the repositories of a folder: caches, hidden files, and the records of pip."""


def local_path(path: str) -> Path:
    """The path of a local source; `{stdlib}` and `{site-packages}` are folders of this Python. Raises InputError."""
    place, _, rest = path.partition("/")
    if place.startswith("{"):
        if place not in _PLACES:
            raise InputError(f"{path!r}: {place} is not known; known are {', '.join(_PLACES)}")
        path = os.path.join(sysconfig.get_path(_PLACES[place]), rest)  # noqa: PTH118 - `rest` may be empty
    found = Path(path)
    try:
        there = found.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path[:200]!r} cannot be read: {error.strerror}") from error
    if not there:
        raise InputError(f"{path!r} does not exist")
    return found


def children(folder: Path) -> list[str]:
    """The names of the repositories that lie in a folder, sorted."""
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder, so it cannot hold a repository in each folder")
    with os.scandir(folder) as found:
        return sorted(
            child.name
            for child in found
            if not _NO_REPOSITORY.fullmatch(child.name)
            and (child.is_dir(follow_symlinks=False) or child.is_file(follow_symlinks=False))
        )


def entries(root: Path, limits: Limits) -> Iterator[Entry]:
    """The files of a folder, each folder's own files by name and then what its folders hold; of a file, itself alone.

    A folder that is too deep, unreadable or named `.git` is one entry, with nothing to read, and what it holds is not
    looked at. Raises InputError where it is `root` that cannot be read.
    """
    if not root.is_dir():
        yield _entry(os.fsencode(root.name), os.fsencode(root), root.stat())
        return
    waiting: list[bytes] = [b""]
    while waiting:
        folder = waiting.pop()
        if folder.count(b"/") >= limits.max_depth or len(folder) > limits.max_path_bytes:
            yield Entry(folder.rstrip(b"/"), 0, Refusal("unsafe_path", "the folder is too deep to be looked at"))
            continue
        base = os.path.join(os.fsencode(root), folder)  # noqa: PTH118 - names are bytes
        try:
            with os.scandir(base) as found:
                listing = sorted(found, key=lambda child: child.name)
        except OSError as error:
            if not folder:
                raise InputError(f"{str(root)!r} cannot be read: {error.strerror}") from error
            yield Entry(folder.rstrip(b"/"), 0, Refusal("unreadable", error.strerror or ""))
            continue
        below = []
        for child in listing:
            if not child.is_dir(follow_symlinks=False):
                yield _entry(folder + child.name, child.path, child.stat(follow_symlinks=False))
            elif child.name == b".git":
                yield Entry(folder + child.name, 0, Refusal("git_folder"))
            else:
                below.append(folder + child.name + b"/")
        waiting.extend(reversed(below))


def _entry(path: bytes, file: bytes, found: os.stat_result) -> Entry:
    if stat.S_ISLNK(found.st_mode):
        return Entry(path, found.st_size, Refusal("link"))
    if not stat.S_ISREG(found.st_mode):
        return Entry(path, 0, Refusal("special_file", f"mode {stat.S_IFMT(found.st_mode):o}"))
    if not os.access(file, os.R_OK):
        return Entry(path, found.st_size, Refusal("unreadable", "no permission to read it"))
    return Entry(path, found.st_size, functools.partial(_read, file, found.st_size))


def open_regular(file: bytes) -> io.BufferedReader:
    """Opens a file that was regular when it was listed; a link or a pipe by now is not followed, not waited for."""
    return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _read(file: bytes, size: int) -> bytes:
    with open_regular(file) as content:
        return content.read(size)
