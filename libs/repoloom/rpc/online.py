"""A step over a stream: the batch's own code, fed with what a client sends and answering as it goes.

A step is synchronous and pushes its rows; a call of grpc.aio is neither. So each call runs its step in a thread, with a
bounded queue on either side: a slow client slows its step, a slow step slows its client, and nothing piles up.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

import pyarrow as pa

from repoloom.engine.step import Reader, Sink
from repoloom.errors import RepoloomError
from repoloom.rpc.stream import Limits, StreamReader
from repoloom.rpc.tables import chunks

T = TypeVar("T")

Answer = tuple[str, pa.RecordBatch]
"""Rows that a step wrote, and the table that it wrote them to."""

Work = Callable[[Mapping[str, Reader], Sink], None]
"""What is done in the thread: `Step.run`, or some of them."""

RESPONSE_BYTES = 1 << 20
"""About what one message of an answer holds: far below the limit of a message, far above the cost of one."""

_WAITING = 4  # messages that wait on either side
_BATCH_BYTES = 4 << 20  # rows that are given to a step at once, at most, unless one message holds more


class AbandonedError(RepoloomError):
    """The client is gone, or its deadline has passed: the step ends where it next reads or writes."""


async def run(
    work: Work,
    table: str,
    incoming: AsyncIterator[pa.RecordBatch],
    executor: Executor,
    sides: Mapping[str, Reader] | None = None,
    limits: Limits | None = None,
) -> AsyncGenerator[Answer, None]:
    """Does `work` on the rows that come in as `table`, and yields what it writes, in order.

    Raises what the work raises, and what `incoming` raises.
    """
    call = _Call()
    reader = StreamReader(call.pull, limits or Limits())
    feeding = asyncio.create_task(call.feed(incoming))
    inputs = {table: reader, **(sides or {})}
    in_context = contextvars.copy_context().run  # the request's id, its trace
    working = asyncio.get_running_loop().run_in_executor(executor, in_context, call.work, work, inputs)
    working.add_done_callback(_retrieve)
    try:
        while (answer := await call.outgoing.get()) is not None:
            yield answer
        await working
    finally:
        feeding.cancel()
        working.cancel()  # before it has begun, where all threads are busy
        call.abandon()
        await asyncio.wait({feeding})  # nobody can close the requests while they are read


class _Call:
    """The two queues of a call, and the `Sink` that its step writes to."""

    def __init__(self) -> None:
        self.outgoing: asyncio.Queue[Answer | None] = asyncio.Queue(_WAITING)
        self._incoming: asyncio.Queue[pa.RecordBatch | BaseException | None] = asyncio.Queue(_WAITING)
        self._loop = asyncio.get_running_loop()
        self._abandoned = threading.Event()

    async def feed(self, incoming: AsyncIterator[pa.RecordBatch]) -> None:
        """Hands on what comes in, then None, or the error that ended it."""
        end: BaseException | None = None
        try:
            async for batch in incoming:
                await self._incoming.put(batch)
        except Exception as error:  # it is raised again where the rows are read
            end = error
        await self._incoming.put(end)

    def pull(self) -> Iterator[pa.RecordBatch]:
        """The rows as they come; those that wait already come together."""
        while True:
            *batches, last = self._wait(self._take())
            if isinstance(last, pa.RecordBatch):
                batches.append(last)
            if batches:
                yield from pa.Table.from_batches(batches).combine_chunks().to_batches()
            if isinstance(last, BaseException):
                raise last
            if last is None:
                return

    def work(self, work: Work, inputs: Mapping[str, Reader]) -> None:
        """The thread: does the work, then says that there is no more."""
        try:
            work(inputs, self)
        except AbandonedError:
            return
        finally:
            asyncio.run_coroutine_threadsafe(self.outgoing.put(None), self._loop)

    def abandon(self) -> None:
        """Ends the thread, which may wait for room or for rows."""
        self._abandoned.set()
        while not self.outgoing.empty():
            self.outgoing.get_nowait()
        if not self._incoming.full():
            self._incoming.put_nowait(None)

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        """Sends rows of a table; waits while the client does not take them."""
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
            for some in chunks(batch, RESPONSE_BYTES):
                self._wait(self.outgoing.put((table, some)))

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        """No step that is served writes raw parts."""
        raise NotImplementedError(f"{table}-{name}: {len(content)} bytes, {rows} rows")

    def roll(self, table: str) -> None:
        """A stream has no parts."""

    def enter(self, files: int, size: int) -> None:
        """A stream has no ledger: its client sees every row."""

    async def _take(self) -> list[pa.RecordBatch | BaseException | None]:
        taken = [await self._incoming.get()]
        size = 0
        while isinstance(taken[-1], pa.RecordBatch) and not self._incoming.empty() and size < _BATCH_BYTES:
            size += taken[-1].nbytes
            taken.append(self._incoming.get_nowait())
        return taken

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the loop, from the thread. Raises AbandonedError."""
        if self._abandoned.is_set():
            coroutine.close()
            raise AbandonedError("the call has ended")
        result = asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        if self._abandoned.is_set():
            raise AbandonedError("the call has ended")
        return result


def _retrieve(working: "asyncio.Future[None]") -> None:
    """A call that was abandoned does not ask how its work ended; asked for here, its error is not logged as lost."""
    if not working.cancelled():
        working.exception()
