"""Memory that calls share: each may take some of it, and they together not more than all."""

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
        """Lets one that has some bytes have so many instead. Raises TooLargeError, OverloadedError."""
        if size > self._each:
            raise TooLargeError(f"a call may hold {self._each} bytes; a batch job has no such limit")
        with self._lock:
            if size > before and self._taken + size - before > self._everyone:
                raise OverloadedError(f"the calls that run hold {self._taken} bytes, of {self._everyone} that they may")
            self._taken += size - before


class Share:
    """What one call has taken."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, size: int) -> None:
        """Takes some more. Raises TooLargeError, OverloadedError."""
        self.hold(self.taken + size)

    def hold(self, size: int) -> None:
        """Has so much from now on, and gives back what is above it. Raises TooLargeError, OverloadedError."""
        self._room.grant(size, self.taken)
        self.taken = size
