"""kombu's Redis transport, for queues that may hold anything: what is no message is dropped, not died of."""

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

import redis as client
from kombu.transport import redis, virtual

_log = logging.getLogger(__name__)
_NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Message(virtual.Message):
    """A message that is not compressed: one that is may be of any size when it is unpacked."""

    def __init__(self, payload: Any, channel: "Channel | None" = None, **options: Any) -> None:  # noqa: ANN401
        if payload["headers"].get("compression"):
            raise ValueError
        super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]


class QoS(redis.QoS):
    """Takes messages while the worker may, and outlives what it finds among those that are not acknowledged."""

    def can_consume(self) -> bool:
        """Whether there is room for one."""
        return self.channel.may_take() and super().can_consume()  # type: ignore[no-untyped-call,no-any-return]

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:  # noqa: ANN401
        """Puts one back into its queue."""
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except _NO_MESSAGE as error:
            _dropped(error)
            self._remove_from_indices(tag).execute()  # type: ignore[no-untyped-call]


class Channel(redis.Channel):
    """A channel that outlives what it reads."""

    Message = Message
    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "message_bytes", "may_take")  # type: ignore[assignment]
    message_bytes: int
    may_take: Callable[[], bool]

    def _create_client(self, asynchronous: bool = False) -> client.Redis:
        made: client.Redis = super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        made.set_response_callback("BRPOP", self._popped)
        return made

    def _do_restore_message(self, payload: Any, exchange: str, routing_key: str, pipe: Any, *rest: Any) -> None:  # noqa: ANN401
        super()._do_restore_message(payload, exchange, routing_key, pipe, *rest)  # type: ignore[no-untyped-call]
        for queue, milliseconds in self._expires.items():  # kombu sees to it where it publishes, and forgets it here
            pipe.pexpire(queue, milliseconds)

    def _popped(self, answer: list[bytes] | None, **_: object) -> list[bytes] | None:
        if answer and len(answer[1]) > self.message_bytes:
            raise ValueError
        return answer

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401
        before = set(self.qos._delivered)
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _NO_MESSAGE as error:
            _dropped(error)
            for tag in set(self.qos._delivered) - before:  # else it would take up a thread's place for good
                self.qos.ack(tag)
            raise Empty from None


class Transport(redis.Transport):
    """Redis with such channels."""

    Channel = Channel


def _dropped(error: Exception) -> None:
    _log.error("dropped what lay in a queue and is no message (%s)", type(error).__name__)
