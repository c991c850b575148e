"""What is begun has its thread to the end; what only waits for one is gone with its call."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from repoloom.rpc.threads import Threads


class _Request:
    """What a call was asked."""


class _Work:
    """Goes on until it is told to end."""

    def __init__(self) -> None:
        self._begun, self._over = threading.Event(), threading.Event()

    def __call__(self, error: Exception | None = None) -> None:
        self._begun.set()
        assert self._over.wait(60)
        if error:
            raise error

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, 20)

    def end(self) -> None:
        self._over.set()


@contextmanager
def _one_thread() -> Iterator[tuple[Threads, _Work]]:
    threads, work = Threads(1, "test"), _Work()
    try:
        yield threads, work
    finally:
        work.end()
        threads.end()


async def _cancelled(task: "asyncio.Task[object]") -> None:
    await asyncio.sleep(0)  # it has come to where it waits
    task.cancel()
    await asyncio.wait({task})


def test_work_is_done_in_a_thread_and_its_error_raised() -> None:
    async def main(threads: Threads) -> None:
        assert await threads.do(threading.get_ident) != threading.get_ident()
        with pytest.raises(ValueError, match="invalid literal"):
            await threads.do(int, "many")
        assert await threads.do(int, "2") == 2

    with _one_thread() as (threads, _):
        asyncio.run(main(threads))


@pytest.mark.parametrize("ended", [False, True])
def test_what_is_given_up_before_it_has_a_thread_is_kept_by_nobody_and_not_done(ended: bool) -> None:
    async def main(threads: Threads, work: _Work) -> None:
        busy = asyncio.create_task(threads.do(work))
        await work.begun()
        if ended:  # the call that has the thread, whose work goes on
            await _cancelled(busy)
        done: list[_Request] = []
        request = _Request()
        asked = weakref.ref(request)
        waiting = asyncio.create_task(threads.do(done.append, request))
        del request
        await _cancelled(waiting)
        del waiting
        gc.collect()
        assert asked() is None
        work.end()
        assert await threads.do(len, done) == 0

    with _one_thread() as (threads, work):
        asyncio.run(main(threads, work))


def test_an_error_after_the_call_has_ended_is_not_logged_as_lost() -> None:
    lost: list[str] = []

    async def main(threads: Threads, work: _Work) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context["message"]))
        given_up = asyncio.create_task(threads.do(work, ValueError("too late")))
        await work.begun()
        await _cancelled(given_up)
        del given_up
        work.end()
        await threads.do(len, "")
        await asyncio.sleep(0)  # the work's end has come to the loop
        gc.collect()
        assert not lost

    with _one_thread() as (threads, work):
        asyncio.run(main(threads, work))
