"""Calling Redis until it answers."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from kombu.exceptions import OperationalError

from repoloom.engine.pool import FatalError
from repoloom.engine.queue.broker import AWAY, Broker

_log = logging.getLogger(__name__)
_LONGEST_WAIT = 5.0  # seconds between two tries
_SAY_EVERY = 30.0  # seconds

T = TypeVar("T")


class Patience:
    """Repeats calls while Redis is away, up to a budget of seconds for each outage."""

    def __init__(self, broker: Broker, budget: float) -> None:
        self._broker = broker
        self._budget = budget

    def __call__(self, call: Callable[[], T]) -> T:
        """What the call returns. Raises FatalError when the budget is spent; the call must bear being repeated."""
        since = said = None
        wait = 0.1
        while True:
            try:
                answer = call()
            except (*AWAY, OperationalError) as error:
                now = time.monotonic()
                since = since or now
                if now - since > self._budget:
                    raise FatalError(
                        f"{self._broker.shown} has not answered for {now - since:.0f} s ({error}); what is committed "
                        "is kept: bring Redis back and run again"
                    ) from error
                if said is None or now - said > _SAY_EVERY:
                    _log.warning("%s does not answer (%s); trying again", self._broker.shown, error)
                    said = now
                time.sleep(random.uniform(0.5, 1) * wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if said is not None:
                    _log.warning("%s answers again", self._broker.shown)
                return answer
