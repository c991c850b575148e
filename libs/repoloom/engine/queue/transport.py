"""kombu's Redis transport, for queues that may hold anything: what is no message is dropped, not died of."""

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)
_NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Channel(redis.Channel):
    """A channel that outlives what it reads."""

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401
        before = set(self.qos._delivered)
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _NO_MESSAGE as error:
            _log.error("dropped what lay in a queue and is no message (%s)", type(error).__name__)
            for tag in set(self.qos._delivered) - before:  # else it would take up a thread's place for good
                self.qos.ack(tag)
            raise Empty from None


class Transport(redis.Transport):
    """Redis with such channels."""

    Channel = Channel
