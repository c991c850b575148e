"""The work queue: what is to be looked at, each thing once however often it was named, and never twice at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from repoloom_operator.resources import Kind

Key: TypeAlias = tuple[Kind, str, str]
"""Kind, namespace and name of a resource."""

_log = logging.getLogger(__name__)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 120.0  # seconds before a look that failed is tried again


class WorkQueue:
    """Runs one function for each key that was added; a key added while it is at work is worked on once more."""

    def __init__(self, look: Callable[[Key], Awaitable[float | None]]) -> None:
        """`look` returns after how many seconds to look again by itself."""
        self._look = look
        self._dirty: set[Key] = set()
        self._at_work: dict[Key, asyncio.Task[None]] = {}
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Has a key looked at soon. To be called in the loop's thread."""
        if later := self._later.pop(key, None):
            later.cancel()
        self._dirty.add(key)
        if key not in self._at_work:
            self._at_work[key] = asyncio.create_task(self._work(key))

    async def _work(self, key: Key) -> None:
        try:
            after: float | None = None
            while key in self._dirty:
                self._dirty.discard(key)
                after = await self._looked(key)
        finally:
            del self._at_work[key]
        if after is not None:
            self._later[key] = asyncio.get_running_loop().call_later(after, self.add, key)

    async def _looked(self, key: Key) -> float | None:
        try:
            after = await self._look(key)
        except Exception:  # whatever it was: the next look begins from what is there then
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * (1 << failures - 1))
            _log.exception("%s %s/%s: looked at again in %.0f s", *key, wait)
            return wait
        self._failures.pop(key, None)
        return after
