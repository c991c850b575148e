"""Which calls run: none before the server is ready, no new one while it drains, a bounded number of each kind."""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from repoloom.errors import UnavailableError
from repoloom.rpc.errors import OverloadedError

_LOOKS, _LOOK_SECONDS = 20, 0.25  # at clients who still call a server that drains
_CUT_SECONDS = 5  # for what a call that is ended has to put away


class Admission:
    """The calls that run now. It begins closed. Used by one event loop, so it needs no lock."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._cut: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: str | None = "the server is starting"
        self._refused = 0  # while closed

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Runs the block as one of the calls. Raises UnavailableError where it may not run."""
        if self._closed is not None:
            self._refused += 1
            raise UnavailableError(self._closed)
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._idle.clear()
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
            raise UnavailableError("the server stopped before the call was done") from None
        finally:
            self._running.discard(task)
            self._cut.discard(task)
            if not self._running:
                self._idle.set()

    def open(self) -> None:
        """Lets calls in."""
        self._closed = None

    async def drain(self, seconds: float) -> bool:
        """Lets no new call in, gives those that run some time, ends the rest; whether none had to be ended."""
        self._closed = "the server is stopping"
        try:
            if await self._is_idle_within(seconds):
                await self._refuse_the_last()
                return True
        finally:
            for task in self._running:
                self._cut.add(task)
                task.cancel()
        await self._is_idle_within(_CUT_SECONDS)
        return False

    async def _refuse_the_last(self) -> None:
        """Waits until clients have turned away: a call that meets a server going down ends as CANCELLED."""
        for _ in range(_LOOKS):
            before = self._refused
            await asyncio.sleep(_LOOK_SECONDS)
            if self._refused == before:
                return

    async def _is_idle_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return not self._running


class Places:
    """So many calls of a kind at once, and of one caller a share of them. Any thread may free what was taken."""

    def __init__(self, limit: int, share: float) -> None:
        self._limit = limit
        self._each = max(1, int(limit * share))
        self._taken: Counter[str | None] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: str | None) -> Callable[[], None]:
        """Takes a place, and gives what frees it; a caller without a name may have all. Raises OverloadedError."""
        with self._lock:
            if self._taken.total() >= self._limit:
                raise OverloadedError(f"the server runs {self._limit} such calls already", _soon())
            if caller is not None and self._taken[caller] >= self._each:
                raise OverloadedError(
                    f"{caller} runs {self._each} such calls already; the rest are for others", _soon()
                )
            self._taken[caller] += 1
        return partial(self._free, caller)

    def _free(self, caller: str | None) -> None:
        with self._lock:
            self._taken[caller] -= 1


def _soon() -> float:
    """Seconds, spread out, so that those who were refused together do not come back together."""
    return random.uniform(0.5, 1.5)
