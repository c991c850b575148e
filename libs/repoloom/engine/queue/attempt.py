"""One attempt on a worker: a message is admitted, its task claimed, done by a child process, and its end reported."""

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery.exceptions import Reject

from repoloom.corpus.manifest import Record
from repoloom.engine.execute import load_step
from repoloom.engine.pool import FatalError, Limits, LocalPool, Outcome
from repoloom.engine.queue.board import Board, Claim, Holder
from repoloom.engine.queue.broker import AWAY
from repoloom.engine.queue.health import Health
from repoloom.engine.queue.keeper import CancelledError, DrainedError, Keeper, Watched
from repoloom.engine.queue.message import Envelope, Hint
from repoloom.engine.queue.pace import Pace
from repoloom.engine.queue.roots import Roots
from repoloom.engine.step import Queue
from repoloom.engine.task import Commit, Task
from repoloom.errors import InputError
from repoloom.telemetry import metrics, tracing
from repoloom.telemetry.logging import bound
from repoloom.text import visible

_log = logging.getLogger(__name__)
_REPORT_SECONDS = 60.0
"""So long a worker tries to say how a task ended. The commit is in the store by then; a failure is only forgotten."""


class Duty(Record):
    """What a worker is there for."""

    queues: tuple[Queue, ...]
    roots: Roots
    pace: Pace = Pace()


class Station:
    """What the threads of one worker process share. Each thread has a child process of its own, which stays warm."""

    def __init__(self, duty: Duty, board: Board, keeper: Keeper, health: Health) -> None:
        self._duty = duty
        self._board = board
        self._keeper = keeper
        self._health = health
        self._thread = threading.local()

    def attempt(self, text: object) -> None:
        """Does what a message says. Raises Reject where the message goes back to its queue."""
        try:
            envelope = Envelope.parse(text)
        except InputError as error:
            _log.error("dropped a message: %s", error)
            return
        claim = Claim(secrets.token_hex(8), envelope)
        if self._take(claim) is not Holder.MINE:
            return
        with self._keeper.keeping(claim) as watched, _observed(envelope):
            try:
                hint = self._do(envelope, watched)
            except CancelledError:
                self._say(lambda: self._board.release(claim))
                return
            except DrainedError:
                self._say(lambda: self._board.release(claim))
                raise Reject("the worker ends", requeue=True) from None
            self._feel(hint)
        self._say(lambda: self._board.report(claim, hint))

    def _take(self, claim: Claim) -> Holder:
        try:
            return self._board.take(claim)
        except AWAY:
            return Holder.MINE  # doing a task twice is harmless; the keeper claims it when Redis is back

    def _do(self, envelope: Envelope, watched: Watched) -> Hint:
        task = envelope.task
        began = time.monotonic()
        try:
            self._admit(envelope)
            [outcome] = self._pool(envelope.limits).run([task], watched.check)
        except InputError as error:
            return self._fatal(task, f"a worker refuses the task: {error}")
        except FatalError as error:
            return self._fatal(task, str(error))
        except OSError as error:
            return self._fatal(task, f"a worker's machine gives it no process or file: {error}; see to the machine")
        _count(outcome, time.monotonic() - began)
        return _hint(outcome)

    def _fatal(self, task: Task, error: str) -> Hint:
        _log.error("could do nothing for task %s: %s", task.key, visible(error, kept=""))
        return Hint(task=task.key, fatal=error, worker=self._keeper.name)

    def _feel(self, hint: Hint) -> None:
        """Judges the worker by how an attempt ended: before that is said, lest the task come back to it at once."""
        if hint.fatal is not None:
            self._health.ail(time.monotonic())
        elif hint.committed:
            self._health.recover()

    def _admit(self, envelope: Envelope) -> None:
        """Raises InputError where this worker must not do the task."""
        load_step(envelope.task.step)
        self._duty.roots.check(envelope.task)
        if envelope.limits.seconds >= self._duty.pace.visibility:
            raise InputError(
                f"its time limit of {envelope.limits.seconds:g} s is not below the {self._duty.pace.visibility:g} s "
                "after which messages are delivered again"
            )

    def _pool(self, limits: Limits) -> LocalPool:
        if not hasattr(self._thread, "pool"):
            self._thread.pool = LocalPool(1, limits)
        pool: LocalPool = self._thread.pool
        pool.limits = limits
        return pool

    def _say(self, word: Callable[[], None]) -> None:
        """Tells the board, for a while also a board that is away."""
        until = time.monotonic() + _REPORT_SECONDS
        while True:
            try:
                return word()
            except AWAY as error:
                if time.monotonic() > min(until, self._keeper.drained_at):
                    return _log.warning("Redis is away (%s); how a task ended stays unsaid", error)
            time.sleep(random.uniform(0.2, 1.0))


@contextmanager
def _observed(envelope: Envelope) -> Iterator[None]:
    """The attempt in logs and traces."""
    task, trace = envelope.task, envelope.trace.model_dump()
    with (
        bound(task=task.key, step=task.step, run=envelope.run),
        tracing.span(f"task {task.step}", parent=trace, task=task.key, run=envelope.run),
    ):
        yield


def _count(outcome: Outcome, seconds: float) -> None:
    """The attempt in metrics."""
    task, result = outcome.task, outcome.result
    if isinstance(result, Commit):
        written = sum(part.bytes for parts in result.tables.values() for part in parts)
        metrics.task_ended(task.step, metrics.TaskOutcome.COMMITTED, seconds, result.cost.read_bytes, written)
    else:
        metrics.task_ended(task.step, metrics.TaskOutcome(result.kind.value), seconds)


def _hint(outcome: Outcome) -> Hint:
    if isinstance(outcome.result, Commit):
        return Hint(task=outcome.task.key)
    return Hint(task=outcome.task.key, attempt=outcome.result)
