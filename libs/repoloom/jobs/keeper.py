"""The keeper: sees to it that each open job has a living runner, in the process of a replica of the service.

Replicas know nothing of one another. Each looks at the open jobs; one whose runner has not beaten for a while, by the
looker's own clock, is taken up. That two may take up the same is harmless: a runner that sees another makes way, and
until then they do the same work to the same bytes.
"""

import logging
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from repoloom.errors import CorruptDataError, RepoloomError
from repoloom.jobs.book import JobBook
from repoloom.jobs.records import End, Failure, Outcome, Progress
from repoloom.jobs.runner import VARIABLE, Charge
from repoloom.jobs.settings import JobSettings
from repoloom.telemetry import metrics

_JITTER = 2.0  # beats, so that of idle replicas mostly one takes a job up
_DEATHS = 5  # of its runners, one after another, without a task done between
_DRAIN_SECONDS = 5.0
_SWEEP_SECONDS = 3600.0
_SWEPT = 50  # records of a look, so that open jobs are never left alone for long
logger = logging.getLogger(__name__)


@dataclass
class _Running:
    """A runner of ours, and how much of what it did is in the metrics."""

    process: subprocess.Popen[bytes]
    token: str
    counted: Progress = field(default_factory=Progress)


@dataclass
class _Seen:
    """The beat of a job's runner, and since when it is the same."""

    beat: tuple[str, int]
    since: float
    patience: float


@dataclass
class _Deaths:
    """How often runners of a job died, and where it stood the last time."""

    token: str  # of the last
    number: int
    at: tuple[int, int]
    again: float  # when the next one may start


class Keeper:
    """Runs from `start` to `stop`. Its runners end with the process at the latest."""

    def __init__(self, book: JobBook, stages: Sequence[str], settings: JobSettings) -> None:
        self._book = book
        self._stages = tuple(stages)
        self._settings = settings
        self._running: dict[str, _Running] = {}
        self._seen: dict[str, _Seen] = {}
        self._deaths: dict[str, _Deaths] = {}
        self._new: set[str] = set()  # started here: no other replica need be waited for
        self._old: Iterator[str] = iter(())  # what is left of the sweep that goes on
        self._next_sweep = 0.0
        self._awake = threading.Event()
        self._over = threading.Event()
        self._drained = threading.Event()
        # One thread for as long as the keeper lives: a runner dies with the thread that started it (prctl(2)).
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{book.service}", daemon=True)

    def start(self) -> None:
        """Begins to look after the jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Has its runners give their jobs back, for other replicas to take up at once."""
        self._over.set()
        self._awake.set()
        self._drain()
        self._drained.set()
        self._thread.join(_DRAIN_SECONDS)  # it may wait for a store that does not answer

    def take_up(self, entry: str) -> None:
        """Looks now: a job was started here."""
        self._new.add(entry)
        self._awake.set()

    def _keep(self) -> None:
        self._try(self._book.sweep)
        while not self._over.is_set():
            self._try(self._look)
            self._try(self._sweep)
            self._awake.wait(self._settings.beat_seconds * random.uniform(0.8, 1.2))
            self._awake.clear()
        self._drained.wait()

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except RepoloomError as error:
            logger.warning("the jobs could not be looked after: %s", error)
        except Exception:  # whatever it is, the jobs need their keeper: the next look may go well
            logger.exception("the jobs could not be looked after")

    def _sweep(self) -> None:
        """Removes some of the records that were kept long enough."""
        if not self._settings.retention_days:
            return
        moment = datetime.now(UTC) - timedelta(days=self._settings.retention_days)
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS
            self._old = self._book.started_before(moment)
        for entry in islice(self._old, _SWEPT):
            self._book.expire(entry, moment)

    def _look(self) -> None:
        self._bury()
        free = self._settings.runners - len(self._running)
        if not free:
            return
        entries = self._book.open_entries()
        waiting = [entry for entry in entries if entry not in self._running]
        self._seen = {entry: self._seen[entry] for entry in waiting if entry in self._seen}
        self._deaths = {entry: self._deaths[entry] for entry in entries if entry in self._deaths}
        self._new.intersection_update(entries)
        for entry in waiting:
            with _by_itself(entry):
                if self._deserted(entry) and self._start(entry):
                    free -= 1
            if not free:
                return

    def _deserted(self, entry: str) -> bool:
        """Whether nobody does a job."""
        now = time.monotonic()
        progress = self._book.progress(entry)
        died = self._deaths.get(entry)
        if died is not None and progress is not None and progress.runner == died.token:  # nobody has taken it up since
            return now >= died.again
        if progress is None and entry in self._new:
            return True
        beat = (progress.runner, progress.beat) if progress else ("", 0)
        seen = self._seen.get(entry)
        if seen is None or seen.beat != beat:
            patience = self._settings.silence_seconds if beat[0] else 0.0
            patience += self._settings.beat_seconds * random.uniform(0, _JITTER)
            seen = self._seen[entry] = _Seen(beat, now, patience)
        return now - seen.since >= seen.patience

    def _start(self, entry: str) -> bool:
        """Starts a runner, unless there is nothing to run."""
        try:
            accepted = self._book.accepted(entry)
        except CorruptDataError as error:
            self._book.finish(entry, _failed(Failure.of(error), Progress()))
            return False
        if accepted is None or self._book.ended(entry):
            self._book.close(entry)
            return False
        token = secrets.token_hex(8)
        before = self._book.progress(entry) or Progress()
        anew = {"runner": token, "beat": 0, "redone": {}, "given_up": {}}
        self._book.write_progress(entry, before.model_copy(update=anew))
        charge = Charge(settings=self._settings, stages=self._stages, runner=token, keeper=os.getpid())
        process = subprocess.Popen(  # noqa: S603 - nothing of it is a caller's: an entry is hexadecimal
            [sys.executable, "-m", "repoloom.jobs.runner", self._book.service, entry],
            stdin=subprocess.DEVNULL,
            env={**os.environ, VARIABLE: charge.model_dump_json()},
        )
        self._running[entry] = _Running(process, token)
        logger.info("a runner has begun", extra={"fields": {"run": entry}})
        return True

    def _bury(self) -> None:
        """Forgets the runners that ended; those that died have their job taken up again, or given up."""
        for entry, runner in list(self._running.items()):
            code = runner.process.poll()
            if code is not None:
                del self._running[entry]
            with _by_itself(entry):
                self._count(entry, runner)
            if code is not None:
                with _by_itself(entry):
                    self._judge(entry, runner, code)

    def _judge(self, entry: str, runner: _Running, code: int) -> None:
        """Has a job go on whose runner ended, after a pause where it died, or gives it up."""
        progress = self._book.progress(entry) or Progress()
        if not code or progress.runner != runner.token:  # another has the job, which may do well where ours died
            self._deaths.pop(entry, None)
            return
        at = (progress.steps_done, progress.done)
        before = self._deaths.get(entry)
        number = before.number + 1 if before and before.at == at else 1
        pause = self._settings.beat_seconds * (2.0 ** (number - 1) - 1)
        self._deaths[entry] = _Deaths(runner.token, number, at, time.monotonic() + pause)
        cause = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        logger.warning("a runner %s", cause, extra={"fields": {"run": entry}})
        if number >= _DEATHS:
            message = f"its runner died {number} times without getting on, the last time it {cause}"
            self._book.finish(entry, _failed(Failure(error="", message=message), progress))

    def _count(self, entry: str, runner: _Running) -> None:
        """Adds what a runner did since the last look to the metrics of this process."""
        progress = self._book.progress(entry)
        if progress is None and (end := self._book.end(entry)) is not None:
            progress = end.progress
        if progress is None or progress.runner != runner.token:
            return
        for step, tasks in progress.redone.items():
            metrics.tasks_retried(step, tasks - runner.counted.redone.get(step, 0))
        for step, tasks in progress.given_up.items():
            metrics.tasks_quarantined(step, tasks - runner.counted.given_up.get(step, 0))
        runner.counted = progress

    def _drain(self) -> None:
        processes = [runner.process for runner in list(self._running.values())]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _DRAIN_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _by_itself(entry: str) -> Iterator[None]:
    """Looks after one job: one whose record cannot be read keeps nobody from the others."""
    try:
        yield
    except CorruptDataError as error:
        logger.warning("a job could not be looked after: %s", error, extra={"fields": {"run": entry}})


def _failed(failure: Failure, progress: Progress) -> End:
    return End(outcome=Outcome.FAILED, ended=datetime.now(UTC), progress=progress, failure=failure)
