"""The files and edges of a folder on disk, read without following links and within limits."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from repoloom.corpus.languages import detect
from repoloom.errors import InputError
from repoloom.stages.order.edges import edges
from repoloom.stages.order.languages.rules import Edge
from repoloom.stages.order.tree import SourceFile

FILE_BYTES = 4 << 20
"""Larger files are seen by name only: no person wrote them."""
MAX_FILES = 1_000_000
"""A folder with more files is refused."""


def edges_of_folder(folder: str | Path) -> Iterator[Edge]:
    """The edges between the files below a folder, sorted; paths are relative to it.

    Raises:
        InputError: there is no such folder, or it holds more than `MAX_FILES` files.
    """
    yield from edges(list(files_of_folder(folder)))


def files_of_folder(folder: str | Path) -> Iterator[SourceFile]:
    """The regular files below a folder, sorted by path; neither links nor `.git` are entered."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root} is no folder")
    paths: list[str] = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        paths.extend(os.path.join(place, name) for name in names)  # noqa: PTH118 (a Path for each file is slow)
        if len(paths) > MAX_FILES:
            raise InputError(f"{root} holds more than {MAX_FILES} files; name a folder within it")
    for path in sorted(paths):
        content = _content(path)
        if content is not None:
            name = os.fsencode(os.path.relpath(path, root)).decode("utf-8", "backslashreplace")
            language = detect(name, content)
            yield SourceFile(name, language.name if language else "", content)


def _content(path: str) -> bytes | None:
    """A regular file's bytes, b"" where it is too large or may not be read; None for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return None
        return file.read() if status.st_size <= FILE_BYTES else b""
