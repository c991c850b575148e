"""One call as its server sees it, found from anywhere in the code that answers it."""

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from repoloom.rpc.callers import ANYONE, Caller
from repoloom.rpc.errors import REQUEST_ID

T = TypeVar("T")

_SANE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_current: ContextVar["Call | None"] = ContextVar("repoloom_call", default=None)


@dataclass
class Call:
    """A call: what was asked, by whom, until when, and how it ended."""

    service: str
    method: str
    request_id: str
    peer: str
    deadline: float  # of time.monotonic()
    caller: Caller = ANYONE
    code: grpc.StatusCode = grpc.StatusCode.OK
    received: int = 0  # messages
    sent: int = 0
    sending: asyncio.Future[None] | None = None  # the last message, which the client may not have taken yet
    working: Future[Any] | None = None  # the last of its threads, which may outlast the call

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())


def current_call() -> Call | None:
    """The call that is being answered; None outside of one.

    It follows into tasks, `asyncio.to_thread` and `in_thread`.
    """
    return _current.get()


def in_thread(executor: Executor, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
    """Does work of a call in a thread, one piece after another.

    No thread can be ended from outside: where nobody waits for it any more, it has the call's place until it is done.
    """
    working = executor.submit(copy_context().run, work, *arguments)
    if call := current_call():
        call.working = working
    return forgivable(asyncio.wrap_future(working))


def forgivable(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """A future whose error asyncio does not log as lost where the call that waited for it has ended before it."""
    future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return future


@contextlib.contextmanager
def entered(call: Call) -> Iterator[None]:
    """Makes a call the current one while the block runs."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The request id that a client sent, if it is one that can stand in a log; else a new one."""
    for name, value in metadata:
        if name == REQUEST_ID and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return new_request_id()


def new_request_id() -> str:
    """An id that no other call has."""
    return uuid.uuid4().hex
