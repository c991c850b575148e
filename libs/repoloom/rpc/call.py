"""One call as its server sees it, found from anywhere in the code that answers it."""

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import grpc

from repoloom.rpc.callers import ANYONE, Caller
from repoloom.rpc.errors import REQUEST_ID

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

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())


def current_call() -> Call | None:
    """The call that is being answered; None outside of one.

    It follows into tasks and `asyncio.to_thread`; a thread that is started otherwise runs in a copy of the context
    (`contextvars.copy_context().run`) to see it.
    """
    return _current.get()


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
