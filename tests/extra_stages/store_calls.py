"""A store that tells of each call before it makes it: to count them, or to die at one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BufferedIOBase
from itertools import count
from typing import BinaryIO

from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Naming, Store


class Telling:
    """Tells `called` of what is asked of a store: the method and the key."""

    def __init__(self, store: Store, called: Callable[[str, str], None]) -> None:
        self._store = store
        self._called = called
        self.uri = store.uri

    def create(self, key: Naming, heartbeat: Heartbeat = unheard) -> AbstractContextManager[BinaryIO]:
        self._called("create", str(key))
        return self._store.create(key, heartbeat)

    def open(self, key: str) -> BufferedIOBase:
        self._called("open", key)
        return self._store.open(key)

    def read(self, key: str) -> bytes:
        self._called("read", key)
        return self._store.read(key)

    def exists(self, key: str) -> bool:
        self._called("exists", key)
        return self._store.exists(key)

    def list(self, prefix: str) -> Iterator[str]:
        self._called("list", prefix)
        return self._store.list(prefix)

    def delete(self, key: str) -> None:
        self._called("delete", key)
        self._store.delete(key)

    def sweep(self) -> None:
        self._store.sweep()


def at(event: int, act: Callable[[], object]) -> Callable[[str, str], None]:
    """Acts at one request, the first is 1, and at no other."""
    events = count(1)

    def look(call: str, key: str) -> None:  # noqa: ARG001 - what a store tells
        if next(events) == event:
            act()

    return look


def once(call: str, prefix: str, act: Callable[[], object]) -> Callable[[str, str], None]:
    """Acts at the first request of a kind for a key that begins so, and at no other."""
    left = [act]

    def look(called: str, key: str) -> None:
        if left and called == call and key.startswith(prefix):
            left.pop()()

    return look
