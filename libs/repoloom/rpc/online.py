"""A step over a stream: the batch's own code, fed with what a client sends and answering as it goes.

A step is synchronous and pushes its rows; a call of grpc.aio is neither. So each call runs its step in a thread, with a
bounded queue on either side: a slow client slows its step, a slow step slows its client, and nothing piles up.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

import pyarrow as pa
from google.protobuf.message import Message

from repoloom.engine.step import Reader, Sink
from repoloom.errors import RepoloomError
from repoloom.rpc.call import in_thread
from repoloom.rpc.room import Room
from repoloom.rpc.stream import Limits, StreamReader
from repoloom.rpc.tables import chunks

T = TypeVar("T")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Outlet(Sink, Protocol):
    """Where the work of a call writes what its client is sent."""

    def go_on(self) -> None:
        """Raises AbandonedError where nobody waits for more."""
        ...


Work = Callable[[Mapping[str, Reader], Outlet], None]
"""What is done in the thread: `Step.run`, or some of them."""


@dataclass(frozen=True)
class Job:
    """What a call does: its work, and the tables that the work reads besides the stream."""

    work: Work
    sides: Mapping[str, Reader] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream(Generic[Request]):
    """The rows that a client sends."""

    table: str  # that the work reads them as
    requests: AsyncIterator[Request]
    rows: Callable[[Sequence[Request]], pa.RecordBatch]  # called in the thread
    room: Room  # for what the work holds of them
    weigh: Callable[[pa.RecordBatch], int]  # what a batch takes of it


Form = Callable[[str, pa.RecordBatch], Response | None]
"""Makes a message of rows that were written to a table; None for a table that is not sent. Called in the thread."""

RESPONSE_BYTES = 1 << 20
"""About what one message of an answer holds: far below the limit of a message, far above the cost of one."""

_WAITING = 4  # messages that wait on either side
_BATCH_BYTES = 4 << 20  # rows that are given to a step at once, at most, unless one message holds more
_LARGE_BYTES = _BATCH_BYTES // _WAITING  # a message that waits alone


class AbandonedError(RepoloomError):
    """The client is gone, or its deadline has passed: the step ends where it next reads or writes."""


async def run(
    job: Job, form: Form[Response], executor: Executor, stream: Stream[Request] | None = None
) -> AsyncGenerator[Response, None]:
    """Does a job, on the rows that come in if there is a stream of them, and yields what it writes, in order.

    Raises what the work raises, and what iterating over the stream's requests raises.
    """
    call = _Call(form, stream)
    feeding = asyncio.create_task(call.feed())
    working = in_thread(executor, call.work, job)
    try:
        while (answer := await call.outgoing.get()) is not None:
            yield answer
        await working
    finally:
        feeding.cancel()
        working.cancel()  # before it has begun, where all threads are busy
        call.abandon()
        await asyncio.wait({feeding})  # nobody can close the requests while they are read


class _Call(Generic[Request, Response]):
    """The two queues of a call, and the `Outlet` that its work writes to."""

    def __init__(self, form: Form[Response], stream: Stream[Request] | None) -> None:
        self.outgoing: asyncio.Queue[Response | None] = asyncio.Queue(_WAITING)
        self._incoming: asyncio.Queue[Request | Exception | None] = asyncio.Queue(_WAITING)
        self._form = form
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._abandoned = threading.Event()

    async def feed(self) -> None:
        """Hands on what comes in, then None, or the error that ended it."""
        end: Exception | None = None
        try:
            if self._stream:
                async for request in self._stream.requests:
                    await self._incoming.put(request)
                    if request.ByteSize() > _LARGE_BYTES:
                        await self._incoming.join()
        except Exception as error:  # it is raised again where the rows are read
            end = error
        await self._incoming.put(end)

    def pull(self) -> Iterator[pa.RecordBatch]:
        """The rows as they come; those that wait already come together."""
        assert self._stream is not None
        while True:
            *requests, last = self._wait(self._take())
            if isinstance(last, Message):
                requests.append(last)
            rows = self._stream.rows(cast("list[Request]", requests))
            if rows.num_rows:
                yield rows
            if isinstance(last, Exception):
                raise last
            if last is None:
                return

    def work(self, job: Job) -> None:
        """The thread: does the work, then says that there is no more."""
        try:
            if self._stream is None:
                job.work(job.sides, self)
                return
            with self._stream.room.share() as share:
                reader = StreamReader(self.pull, Limits(), share, self._stream.weigh)
                job.work({self._stream.table: reader, **job.sides}, self)
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
                if response := self._form(table, some):
                    self._wait(self.outgoing.put(response))

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        """No step that is served writes raw parts."""
        raise NotImplementedError(f"{table}-{name}: {len(content)} bytes, {rows} rows")

    def roll(self, table: str) -> None:
        """A stream has no parts."""

    def enter(self, files: int, size: int) -> None:
        """A stream has no ledger: its client sees every row."""

    def go_on(self) -> None:
        """Raises AbandonedError once the call has ended."""
        if self._abandoned.is_set():
            raise AbandonedError("the call has ended")

    async def _take(self) -> list[Request | Exception | None]:
        taken = [await self._incoming.get()]
        self._incoming.task_done()
        size = 0
        while isinstance(taken[-1], Message) and not self._incoming.empty() and size < _BATCH_BYTES:
            size += taken[-1].ByteSize()
            taken.append(self._incoming.get_nowait())
            self._incoming.task_done()
        return taken

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the loop, from the thread. Raises AbandonedError."""
        if self._abandoned.is_set():
            coroutine.close()
            raise AbandonedError("the call has ended")
        result = asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        self.go_on()
        return result
