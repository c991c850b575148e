"""Object storage behind one small interface: whole objects under keys, written atomically."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, TypeAlias

from repoloom.errors import InputError
from repoloom.heartbeat import Heartbeat, unheard

Naming: TypeAlias = str | Callable[[], str]
"""A key, or what gives it once the object is whole, so that it can tell what the object holds."""


class Store(Protocol):
    """Objects under one prefix. Keys are relative POSIX paths; none can name anything outside the prefix."""

    uri: str

    def create(self, key: Naming, heartbeat: Heartbeat = unheard) -> AbstractContextManager[BinaryIO]:
        """A writer for one object. The object appears whole when the block ends without an error, or not at all.

        As the block ends, `heartbeat` beats for each piece that the store has taken, in the thread of the block.
        """
        ...

    def open(self, key: str) -> io.BufferedIOBase:
        """A seekable reader. Raises FileNotFoundError."""
        ...

    def read(self, key: str) -> bytes:
        """A whole small object. Raises FileNotFoundError."""
        ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Iterator[str]:
        """The keys below a folder-like prefix, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is no error."""
        ...

    def sweep(self) -> None:
        """Removes what writers that died left unfinished."""
        ...


def open_store(uri: str) -> Store:
    """The store at an address: s3://bucket/prefix, or a folder's path or file:// address. Raises InputError."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        from repoloom.store.s3 import S3Store  # its client takes long to import

        return S3Store(uri)
    if uri.startswith("s3:"):
        raise InputError(f"{uri}: did you mean s3://{uri[3:].lstrip('/')}?")
    if separator and scheme != "file":
        raise InputError(f"{uri}: there is no store for {scheme}:// addresses; give a folder or s3://bucket/prefix")
    from repoloom.store.folder import FolderStore

    return FolderStore(rest if separator else uri)


def named(key: Naming) -> str:
    """The key of an object that is whole."""
    return key if isinstance(key, str) else key()


def write(store: Store, key: str, content: bytes) -> None:
    """Writes one small object atomically."""
    with store.create(key) as file:
        file.write(content)
