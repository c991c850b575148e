"""The heart of a runner: a thread that says again and again that the job goes on, and looks whether it is to stop."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import FrameType, TracebackType
from typing import NoReturn

from repoloom.engine.reconcile import Status
from repoloom.errors import RepoloomError
from repoloom.jobs.book import JobBook
from repoloom.jobs.records import Progress

_GRACE = 1.5  # seconds in which the main thread may put down its work
logger = logging.getLogger(__name__)


class Why(StrEnum):
    """Why a runner stops before its job is done."""

    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # another runner does the job or has done it, and its record may be deleted by now
    DRAINED = "drained"  # its service goes down


class HaltError(BaseException):
    """Stops the main thread wherever it is; no library takes it for an error of its own."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why = why


class Heart:
    """Beats while the block runs, which is the main thread's; raises HaltError there when the runner is to stop.

    Where the main thread does not come to a halt in time, `begin_anew` is called, which must end it: it could write
    datasets after the job's end. All that the engine does may be broken off at any moment.
    """

    def __init__(
        self, book: JobBook, entry: str, runner: str, begin_anew: Callable[[], NoReturn], seconds: float
    ) -> None:
        self._book = book
        self._entry = entry
        self._begin_anew = begin_anew
        self._seconds = seconds
        self._lock = threading.Lock()
        stood = book.progress(entry)  # as its keeper, or itself before it began anew, has written it
        self._progress = stood if stood is not None and stood.runner == runner else Progress(runner=runner)
        self._step_began = 0.0
        self._lost_before = 0  # tasks of the step that were given up before this runner came to it
        self._why = Why.DRAINED
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    @property
    def progress(self) -> Progress:
        """Where the job stands."""
        return self._progress

    def __enter__(self) -> "Heart":
        signal.signal(signal.SIGTERM, self._halt)
        signal.signal(signal.SIGUSR1, self._halt)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is being written, which takes a moment
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Beats at once. Raises HaltError where there is nothing to do."""
        if (why := self._look()) is not None:
            raise HaltError(why)

    def begin(self, steps: int) -> None:
        """Says how many steps there are, of which this runner has come to none: until now the one before it counts."""
        with self._lock:
            self._progress = Progress(runner=self._progress.runner, beat=self._progress.beat, steps=steps)

    def watch(self, status: Status) -> None:
        """Says where the step at work stands."""
        now = time.monotonic()
        if status.step != self._progress.step:
            self._step_began = now
            self._lost_before = status.quarantined
        fresh = status.done - status.reused
        per_second = fresh / (now - self._step_began) if fresh > 0 and now > self._step_began else 0.0
        left = status.tasks - status.done - status.quarantined
        self._update(
            step=status.step,
            tasks=status.tasks,
            done=status.done,
            quarantined=status.quarantined,
            reused=status.reused,
            per_second=round(per_second, 3),
            seconds_left=round(left / per_second, 1) if per_second else None,
            redone={**self._progress.redone, status.step: status.redone},
            given_up={**self._progress.given_up, status.step: status.quarantined - self._lost_before},
        )

    def step_done(self) -> None:
        """Says that one more step is done."""
        self._update(steps_done=self._progress.steps_done + 1)

    def _update(self, **fields: object) -> Progress:
        with self._lock:
            self._progress = self._progress.model_copy(update=fields)
            return self._progress

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                why = self._look()
            except RepoloomError as error:
                logger.warning("the job's progress could not be written: %s", error)
                continue
            except Exception:  # whatever it is, a runner without a heart could not be stopped
                logger.exception("the job's progress could not be written")
                continue
            if why is not None:
                self._why = why
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                if not self._over.wait(_GRACE):
                    self._begin_anew()
                return

    def _look(self) -> Why | None:
        """Writes the progress first: see `JobBook.cancel`. Of two runners that see each other the lesser one stays."""
        before = self._book.progress(self._entry)
        if before is not None and before.runner and before.runner < self._progress.runner:
            return Why.SUPERSEDED
        if self._book.ended(self._entry) or self._book.accepted(self._entry) is None:
            return Why.SUPERSEDED
        self._book.write_progress(self._entry, self._update(beat=self._progress.beat + 1))
        return Why.CANCELLED if self._book.cancel_requested(self._entry) else None

    def _halt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal.signal asks for
        raise HaltError(self._why)
