"""Threads for calls, with nothing queued behind them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from repoloom.rpc.call import in_thread

T = TypeVar("T")


class Threads:
    """A number of threads, used by one event loop.

    A call waits for a free one where it can be ended and holds its place. An executor's own queue has no bound, and
    keeps what was asked for by those who are gone.
    """

    def __init__(self, number: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(number, thread_name_prefix=name)
        self._free = asyncio.Semaphore(number)

    async def do(self, work: Callable[..., T], *arguments: object) -> T:
        """Does work of a call in a thread, which is free again when the work is done, and not when the call has ended.

        Raises what the work raises.
        """
        await self._free.acquire()
        working = in_thread(self._executor, work, *arguments)
        working.add_done_callback(lambda _: self._free.release())
        await asyncio.wait({working})
        return working.result()

    def end(self) -> None:
        """Does no more, and waits for none of the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)
