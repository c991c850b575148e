"""The Celery pool: hands tasks to workers anywhere, and hands out again what is lost on the way."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from repoloom.engine.pool import Limits, Outcome
from repoloom.engine.queue.app import make_app
from repoloom.engine.queue.board import Board
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.pace import Pace
from repoloom.engine.queue.patience import Patience
from repoloom.engine.queue.run import Run
from repoloom.engine.task import Task
from repoloom.errors import InputError


class CeleryPool:
    """Does tasks on the workers that serve this build's queues. It keeps nothing that the store does not have."""

    def __init__(self, broker: Broker, limits: Limits, pace: Pace | None = None) -> None:
        self._broker = broker
        self.limits = limits
        self._pace = pace or Pace()
        if limits.seconds >= self._pace.visibility:
            raise InputError(f"a task's time limit must be below {self._pace.visibility:g} s, it is {limits.seconds:g}")
        self._client = broker.client()
        self._app = make_app(broker, self._pace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.close()
        self._client.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Does each task once and yields how it ended, in the order of their ends. Raises FatalError.

        Where the iterator is closed, what is queued is dropped and what is under way is stopped.
        """
        patience = Patience(self._broker, self._pace.patience)
        run = Run(self._app, Board(self._client, self._pace), patience, self.limits, self._pace)
        waiting = iter(tasks)
        next_look = time.monotonic() + self._pace.look
        try:
            while True:
                full = run.fill(waiting)
                if not run.flights:
                    return
                yield from run.arrived(wait=self._pace.look if full else 0)
                if time.monotonic() >= next_look:
                    yield from run.look()
                    next_look = time.monotonic() + self._pace.look
        finally:
            run.end()
