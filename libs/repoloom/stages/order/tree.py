"""The files of one repository as the import rules see them: paths, folders, and which of several is the nearest."""

import posixpath
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

MAX_DEPTH = 64
"""Folders of a path that are told apart: a bound on the work for a hostile path."""

MANIFEST_BYTES = 1 << 20
"""Larger manifests (package.json, go.mod) are not read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a repository."""

    path: str  # POSIX, relative to the repository
    language: str  # a name of corpus.languages, "" where it is none
    content: bytes | memoryview


class Tree:
    """One repository's paths, read only. Where a path occurs twice, the first file has it."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files: Mapping[str, SourceFile] = {file.path: file for file in reversed(files)}

    def __contains__(self, path: str) -> bool:
        return path in self.files

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that holds a file, at any depth; "" is the repository."""
        return frozenset(folder for path in self.files for folder in ancestors(path))

    def named(self, name: str) -> list[str]:
        """The paths whose last component is `name`, sorted."""
        return self._names.get(name, [])

    def read(self, path: str) -> bytes:
        """A manifest's content; b"" where it is too large to be one."""
        content = self.files[path].content
        return bytes(content) if len(content) <= MANIFEST_BYTES else b""

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.files):
            names[path.rpartition("/")[2]].append(path)
        return names


class Nearest:
    """Paths filed under keys; of those with the same key, the one that shares the deepest folder with the asking file.

    Among equally near ones the shallowest, then the first by name. Everything is filed before anything is asked for.
    Memory grows with what is filed and asked, never with the depth of a path.
    """

    def __init__(self) -> None:
        self._filed: dict[str, list[str]] = defaultdict(list)
        self._sorted: dict[str, list[str]] = {}
        self._first: dict[tuple[str, str], str] = {}  # of the paths of a key, the first within a folder

    def add(self, key: str, path: str) -> None:
        self._filed[key].append(path)

    def find(self, key: str, asking: str) -> str | None:
        if key not in self._filed:
            return None
        if key not in self._sorted:
            self._sorted[key] = sorted(self._filed[key])
        paths = self._sorted[key]
        for folder in ancestors(asking):
            prefix = f"{folder}/" if folder else ""
            start = bisect_left(paths, prefix)
            if start < len(paths) and paths[start].startswith(prefix):
                if (key, folder) not in self._first:
                    end = bisect_left(paths, f"{folder}0") if folder else len(paths)  # "0" comes after "/"
                    self._first[key, folder] = min(paths[start:end], key=lambda path: (path.count("/"), path))
                return self._first[key, folder]
        return None


@lru_cache(maxsize=4096)
def ancestors(path: str) -> tuple[str, ...]:
    """The folders that hold a path, the innermost first, "" last; of deeper ones than `MAX_DEPTH` only the outer."""
    if path.count("/") > MAX_DEPTH:
        path = "/".join(path.split("/", MAX_DEPTH + 1)[: MAX_DEPTH + 1])
    folders: list[str] = []
    while path:
        path = path.rpartition("/")[0]
        folders.append(path)
    return tuple(folders)


def folder_of(path: str) -> str:
    """The folder that holds a path, "" for the repository."""
    return path.rpartition("/")[0]


def join(folder: str, path: str) -> str | None:
    """The path as seen from a folder, or None where it leaves the repository."""
    joined = posixpath.normpath(posixpath.join(folder, path))
    if joined == ".":
        return ""
    return None if joined.startswith(("../", "/")) or joined == ".." else joined
