"""One run of tasks over the queue: a bounded number in flight, their ends gathered, the lost ones sent again."""

import itertools
import logging
import secrets
import time
from collections.abc import Iterator

from celery import Celery
from pydantic import ValidationError

from repoloom.engine.execute import committed, load_step
from repoloom.engine.pool import FatalError, Limits, Outcome
from repoloom.engine.queue import names
from repoloom.engine.queue.app import publish
from repoloom.engine.queue.board import Board, Sight
from repoloom.engine.queue.broker import AWAY
from repoloom.engine.queue.flight import Flight
from repoloom.engine.queue.message import Envelope, Hint, TraceContext, carried
from repoloom.engine.queue.pace import Pace
from repoloom.engine.queue.patience import Patience
from repoloom.engine.step import Queue
from repoloom.engine.task import Attempt, Commit, Kind, Task
from repoloom.store import open_store
from repoloom.telemetry import tracing
from repoloom.text import visible

_log = logging.getLogger(__name__)
_BATCH = 64  # messages sent between two looks at what came back
_SAY_EVERY = 60.0  # seconds


class Run:
    """The tasks of one call of CeleryPool.run, from when they are sent to when it is known how they ended."""

    def __init__(self, app: Celery, board: Board, patience: Patience, limits: Limits, pace: Pace) -> None:
        self.flights: dict[str, Flight] = {}
        self._app = app
        self._board = board
        self._patience = patience
        self._limits = limits
        self._pace = pace
        self._id = secrets.token_hex(16)
        self._bytes = 0
        self._witnesses: list[str] = []  # as a flight's, of all tasks, since one was committed
        self._unserved_said = 0.0

    def fill(self, waiting: Iterator[Task]) -> bool:
        """Sends some of the tasks; True where there is no room for more, or are none for the time being."""
        for _ in range(_BATCH):
            if len(self.flights) >= self._pace.window or self._bytes >= self._pace.window_bytes:
                return True
            if (task := next(waiting, None)) is None:
                return True
            flight = Flight(task, load_step(task.step).queue, self._limits.seconds)
            self.flights[task.key] = flight
            self._send(flight)
        return False

    def arrived(self, wait: float) -> Iterator[Outcome]:
        """How tasks ended, as far as it has been said; waits so many seconds for a first word. Raises FatalError."""
        for text in self._patience(lambda: self._board.hints(self._id, wait)):
            hint = self._read(text)
            if hint is None or (flight := self.flights.get(hint.task)) is None:
                continue
            if hint.fatal is not None:
                self._hear(flight, hint.worker, visible(hint.fatal))
                continue
            result = hint.attempt or _stored(flight.task)  # Redis is not believed that something is done
            if result is not None:
                yield self._land(flight, result)

    def look(self) -> Iterator[Outcome]:
        """Finds what is lost: takes its commit from the store where there is one, else sends it again.

        What a worker does for too long is taken away from it, or whoever comes would be turned away.
        """
        flights = list(self.flights.values())
        queues = {flight.queue for flight in flights}
        holders = self._patience(lambda: self._board.holders([flight.task for flight in flights]))
        sights = {queue: self._see(queue) for queue in queues}
        yield from self.arrived(wait=0)  # what was said before its claim ended is not lost
        now = time.monotonic()
        lost = (
            (flight, holder)
            for flight, holder in zip(flights, holders, strict=True)
            if flight.task.key in self.flights and flight.is_lost(holder, sights[flight.queue], now, self._pace)
        )
        for flight, holder in itertools.islice(lost, self._pace.store_looks):
            if holder is not None:
                self._revoke(flight, holder)
            yield from self._recover(flight)

    def end(self) -> None:
        """Has the workers drop and stop what is left of it."""
        try:
            self._board.end(self._id)
        except AWAY as error:
            _log.warning("Redis is away (%s); what this run has queued may still be done", error)

    def _send(self, flight: Flight) -> None:
        name = names.queue_name(flight.queue)
        self._bytes -= flight.size
        flight.number = self._patience(lambda: self._board.next_number(name))
        envelope = Envelope(
            run=self._id,
            queue=flight.queue,
            number=flight.number,
            limits=self._limits,
            task=flight.task,
            trace=TraceContext.model_validate(tracing.inject()),
        )
        text = envelope.model_dump_json()
        size = carried(text)
        if size > self._pace.message_bytes:
            raise FatalError(
                f"a task of {flight.task.step} names so many parts that its message would take {size} bytes, the "
                f"limit is {self._pace.message_bytes}; lower engine.task_bytes or write larger parts"
            )
        self._patience(lambda: publish(self._app, name, text))
        flight.size = size
        flight.sent += 1
        flight.holder = flight.began = flight.gone = None
        self._bytes += flight.size

    def _hear(self, flight: Flight, worker: str, fatal: str) -> None:
        """Ends the run where no worker can help; one worker's word may be of that worker alone.

        Of a task some workers must say so, or all there are. Of the run all must, with no task committed in between:
        where none is fit, the word on each task may take long to come round again.
        """
        workers = self._see(flight.queue).workers
        flight.witnesses.append(worker)
        self._witnesses.append(worker)
        if self._agreed(flight.witnesses, min(self._pace.witnesses, workers)) or self._agreed(self._witnesses, workers):
            raise FatalError(fatal)
        _log.warning("a worker can do nothing for task %s (%s); it is sent again", flight.task.key, fatal)
        self._send(flight)

    def _agreed(self, witnesses: list[str], workers: int) -> bool:
        """Whether so many workers have said it, and where there are few, they as often as some would."""
        return len(witnesses) >= self._pace.witnesses and len(set(witnesses)) >= workers

    def _revoke(self, flight: Flight, holder: str) -> None:
        name = names.queue_name(flight.queue)
        self._patience(lambda: self._board.revoke(flight.task, name, holder))

    def _recover(self, flight: Flight) -> Iterator[Outcome]:
        if (commit := _stored(flight.task)) is not None:
            yield self._land(flight, commit)
            return
        flight.losses += flight.began is not None
        if flight.losses >= self._pace.losses:
            error = f"its worker was lost {flight.losses} times"
            yield self._land(flight, Attempt(kind=Kind.CRASH, error=error, at=""))
            return
        _log.info("task %s was lost and is sent again", flight.task.key)
        self._send(flight)

    def _land(self, flight: Flight, result: Commit | Attempt) -> Outcome:
        del self.flights[flight.task.key]
        self._bytes -= flight.size
        if isinstance(result, Commit):
            self._witnesses.clear()
        return Outcome(flight.task, result)

    def _see(self, queue: Queue) -> Sight:
        name = names.queue_name(queue)
        self._patience(lambda: self._board.keep(name))
        sight = self._patience(lambda: self._board.sight(name))
        now = time.monotonic()
        if sight.waiting and not sight.workers and now - self._unserved_said > _SAY_EVERY:
            _log.warning("no worker serves the queue %s; start workers of this build", name)
            self._unserved_said = now
        return sight

    def _read(self, text: bytes) -> Hint | None:
        if len(text) <= self._pace.message_bytes:
            try:
                return Hint.model_validate_json(text)
            except ValidationError:
                _log.warning("ignored what was said of a task, for it cannot be read")
        return None


def _stored(task: Task) -> Commit | None:
    return committed(open_store(task.root), task)
