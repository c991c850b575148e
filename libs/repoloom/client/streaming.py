"""Rows over a stream of messages: cut to size on the way out, one by one on the way back."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from repoloom.rpc.errors import raised_as_own

T = TypeVar("T")
R = TypeVar("R", bound=Message)

REQUEST_BYTES = 256 << 10
"""About what one message holds: enough that its own cost is small, little enough that answers come early."""


def byte_size(message: Any) -> int:  # noqa: ANN401
    """Of a message, on the wire."""
    size: int = message.ByteSize()
    return size


def stream(
    method: Callable[..., Iterable[Message]], requests: Iterable[Message] | Message, seconds: float
) -> Iterator[Any]:
    """The rows of a call's answers, in the order of each answer's fields.

    Raises repoloom's errors, and what iterating over `requests` raises.
    """
    outgoing = _Remembering(() if isinstance(requests, Message) else requests)
    try:
        with raised_as_own():
            sent = requests if isinstance(requests, Message) else iter(outgoing)
            for response in method(sent, timeout=seconds):
                for _, rows in response.ListFields():
                    yield from rows
    except Exception:
        if outgoing.error is not None:  # gRPC says only that the requests ended
            raise outgoing.error from None
        raise


def with_settings(requests: Iterable[R], **settings: Any) -> Iterator[R]:  # noqa: ANN401
    """The requests, the first of which says how the call is to be done."""
    settled = False
    for request in requests:
        yield request if settled else type(request)(**dict(_fields(request)), **settings)
        settled = True


def _fields(message: Message) -> Iterator[tuple[str, Any]]:
    return ((field.name, value) for field, value in message.ListFields())


def chunks(rows: Iterable[T], size: Callable[[T], int] = byte_size) -> Iterator[list[T]]:
    """The rows in lists of about REQUEST_BYTES; at least one list, which may be empty."""
    held: list[T] = []
    held_bytes = 0
    for row in rows:
        held.append(row)
        held_bytes += size(row)
        if held_bytes >= REQUEST_BYTES:
            yield held
            held, held_bytes = [], 0
    yield held


class _Remembering(Generic[T]):
    """An iterable that remembers what it raised in gRPC's thread."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._items
        except Exception as error:
            self.error = error
            raise
