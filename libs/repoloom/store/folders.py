"""Folders of files, to a store and from it: what libraries write to and read from a local disk alone.

Each `heartbeat` beats for each MiB, and for each piece that a store has taken.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO, Protocol

from repoloom.heartbeat import Heartbeat, unheard
from repoloom.scratch import create_scratch
from repoloom.store import Store

_BLOCK = 1 << 20


class Readable(Protocol):
    """What can be read piece by piece."""

    def read(self, size: int, /) -> bytes: ...


def upload(folder: Path, store: Store, prefix: str, heartbeat: Heartbeat = unheard) -> dict[str, str]:
    """Puts the files of a folder below a prefix, and removes what else lies there; what is in folders there stays.

    Returns the SHA-256 of each, by name, in hexadecimal. Raises StoreError.
    """
    digests = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as source, store.create(f"{prefix}/{path.name}", heartbeat) as target:
            digests[path.name] = copy(source, target, heartbeat)
    for key in list(store.list(prefix)):
        name = key.removeprefix(f"{prefix}/")
        if "/" not in name and name not in digests:
            store.delete(key)
    return digests


def download(store: Store, prefix: str, folder: Path, heartbeat: Heartbeat = unheard) -> dict[str, str]:
    """Writes what lies below a prefix, and in no folder there, into a scratch folder; returns what `upload` does.

    Raises FileNotFoundError where an object goes meanwhile, and StoreError.
    """
    digests = {}
    for key in store.list(prefix):
        name = key.removeprefix(f"{prefix}/")
        if "/" not in name:
            with store.open(key) as source, create_scratch(folder / name) as target:
                digests[name] = copy(source, target, heartbeat)
    return digests


def copy(source: Readable, target: BinaryIO, heartbeat: Heartbeat = unheard) -> str:
    """Copies all that is left to read; returns its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
        heartbeat()
    return digest.hexdigest()


def sha256(store: Store, key: str, heartbeat: Heartbeat = unheard) -> str | None:
    """The SHA-256 of an object, in hexadecimal; None where there is none. Raises StoreError."""
    digest = hashlib.sha256()
    try:
        with store.open(key) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                heartbeat()
    except FileNotFoundError:
        return None
    return digest.hexdigest()
