"""How many tasks wait in each queue, for readers that ask often and must not wait: the metrics."""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from repoloom.engine.queue.broker import AWAY, Broker
from repoloom.engine.queue.state import queue_state
from repoloom.errors import RepoloomError

_FRESH_SECONDS = 5.0  # so long an answer of Redis is good for all who ask
_WAIT_SECONDS = 2.0  # for an answer: Prometheus gives a page ten by default, and it has more to say
_log = logging.getLogger(__name__)


class Depths:
    """Asks Redis when it is asked itself, at most once in a few seconds, in a thread that nobody waits for long."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._answer: Future[Mapping[str, int]] | None = None
        self._asked = 0.0

    def __call__(self) -> Mapping[str, int]:
        """Messages that no worker has taken, by queue; empty where Redis does not say."""
        with self._lock:
            stale = time.monotonic() - self._asked > _FRESH_SECONDS
            if self._answer is None or (self._answer.done() and stale):
                self._answer = Future()
                self._asked = time.monotonic()
                threading.Thread(target=self._ask, args=(self._answer,), name="depths", daemon=True).start()
            answer = self._answer
        try:
            return answer.result(_WAIT_SECONDS)
        except TimeoutError:
            return {}

    def _ask(self, answer: "Future[Mapping[str, int]]") -> None:
        depths: dict[str, int] = {}
        try:
            depths = {queue.name: queue.waiting for queue in queue_state(self._broker)}
        except (RepoloomError, *AWAY) as error:
            _log.warning("the metrics say nothing of the queues: %s", error)
        finally:
            answer.set_result(depths)
