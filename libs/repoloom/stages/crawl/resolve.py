"""What a source stands for now: a commit, or a digest of local files, so that a changed folder is a changed input."""

import hashlib
import os
from collections.abc import Iterator

from repoloom.stages.crawl import folder, git
from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.policy import Policy
from repoloom.stages.crawl.sources import FolderSource, GitSource, LocalSource, Source

_PREFIX = "sha256:"
_ALL = Limits(max_depth=1000, max_path_bytes=3000)  # as deep as Linux's PATH_MAX lets a folder be read


def resolve(source: Source) -> tuple[Source, ...]:
    """What a source of a recipe stands for now: a local one has its revision, a folder of repositories is many.

    A git source has its commit, unless its host cannot be reached. A digest or a commit that the recipe gives is left
    as it is. Raises InputError, and NotAllowedError for a source of a kind that is not read here.
    """
    Policy.here().check(source)
    if isinstance(source, GitSource):
        return (git.pinned(source),)
    if not isinstance(source, LocalSource):
        return (source,)
    if isinstance(source, FolderSource) and source.each:
        return tuple(child for part in _parts(source) for child in resolve(part))
    return (source if source.revision else source.model_copy(update={"revision": _digest(source)}),)


def is_resolved(source: Source) -> bool:
    """Whether a source says by itself alone what it holds."""
    return not isinstance(source, LocalSource) or (source.revision is not None and not getattr(source, "each", False))


def changed(source: LocalSource) -> bool:
    """Whether the files are not those that were there when the source was resolved."""
    return bool(source.revision and source.revision.startswith(_PREFIX)) and source.revision != _digest(source)


def _parts(source: FolderSource) -> Iterator[FolderSource]:
    for name in folder.children(folder.local_path(source.path)):
        repo = f"{source.repo}/{name}" if source.repo else None
        yield source.model_copy(update={"path": f"{source.path.rstrip('/')}/{name}", "each": False, "repo": repo})


def _digest(source: LocalSource) -> str:
    path = folder.local_path(source.path)
    if not isinstance(source, FolderSource):
        return _PREFIX + _file_digest(os.fsencode(path))
    digest = hashlib.sha256()
    for entry in folder.entries(path, _ALL):
        below = os.fsencode(path) + b"/" + entry.path if path.is_dir() else os.fsencode(path)
        found = f"not read: {entry.content.rule}" if isinstance(entry.content, Refusal) else _file_digest(below)
        digest.update(b"%d:%s%s\n" % (len(entry.path), entry.path, found.encode()))
    return _PREFIX + digest.hexdigest()


def _file_digest(path: bytes) -> str:
    with folder.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
