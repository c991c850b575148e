"""Memory that the calls of a service share: each may take some of it, and they together not more than all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from repoloom.errors import TooLargeError
from repoloom.rpc.errors import OverloadedError


class Room:
    """So many bytes for all calls, and for one of them. Used by the calls' threads."""

    def __init__(self, everyone: int, each: int) -> None:
        self._everyone = everyone
        self._each = each
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A call's share, given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            with self._lock:
                self._taken -= share.taken

    def grant(self, size: int, before: int) -> None:
        """Gives bytes to one that has some. Raises TooLargeError, OverloadedError."""
        if before + size > self._each:
            raise TooLargeError(f"a call may hold {self._each} bytes; a batch job has no such limit")
        with self._lock:
            if self._taken + size > self._everyone:
                raise OverloadedError(f"the calls that run hold {self._taken} bytes, of {self._everyone} that they may")
            self._taken += size


class Share:
    """What one call has taken."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, size: int) -> None:
        """Takes some more. Raises TooLargeError, OverloadedError."""
        self._room.grant(size, self.taken)
        self.taken += size
