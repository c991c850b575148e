"""Telling whoever looks from outside where a training stands: `training-progress.json`, renewed every few seconds."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.errors import RepoloomError
from repoloom.store import Store
from repoloom.training.loop import StepReport
from repoloom.training.parallel import GetsOn, ParallelPlan
from repoloom.training.progress import PROGRESS, RunState, TrainingProgress

T = TypeVar("T")

INTERVAL = 5.0
"""Seconds between two writings: what a person who watches waits for, and a store does not notice."""

_PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "A100": 312e12,
}
"""Part of a GPU's name: operations a second in bfloat16 without sparsity, of NVIDIA's data sheets; the first fits."""


def peak_flops(device: str) -> float | None:
    """Operations a second of a GPU of that name; None where it is not known."""
    return next((peak for name, peak in _PEAKS.items() if name in device), None)


class ProgressFile:
    """Keeps the record in a store while a training runs; the block's end says what became of it."""

    def __init__(
        self,
        store: Store,
        steps: int,
        sequence_length: int,
        peak: float | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        stage: str = "",
        is_last: bool = True,
    ) -> None:
        """Of a stage of a training; the training is done when its last one is.

        `peak`: operations a second of the GPUs, all of them together; None: not known.
        """
        self._store = store
        self._sequence_length = sequence_length
        self._peak = peak
        self._clock = clock
        self._progress = TrainingProgress(state=RunState.RUNNING, stage=stage, steps=steps)
        self._ended = RunState.DONE if is_last else RunState.RUNNING
        self._written: float | None = None
        self._tokens_written = 0
        self._operations = 0  # since the writing before

    def __enter__(self) -> Self:
        self._progress = self._before()
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end(self._ended)
        else:
            with contextlib.suppress(RepoloomError):  # the error that ended the run is the one to tell of
                self._end(RunState.STOPPED if kind is KeyboardInterrupt else RunState.FAILED)

    def step(self, report: StepReport) -> None:
        """Takes what a step did; writes it where the last writing is old enough. Raises StoreError."""
        tokens = report.samples_consumed * self._sequence_length
        a_step = tokens // report.step
        now = self._clock()
        self._operations += report.operations
        if self._written is None:  # the first step of this process: of the time before it nothing is known
            read, seconds = a_step, a_step / report.tokens_per_second
        else:
            read, seconds = tokens - self._tokens_written, max(now - self._written, 1e-9)
        speed = read / seconds
        left = (report.steps - report.step) * a_step / speed
        self._progress = TrainingProgress(
            state=RunState.RUNNING,
            stage=self._progress.stage,
            step=report.step,
            steps=report.steps,
            tokens=tokens,
            loss=report.loss,
            learning_rate=report.learning_rate,
            tokens_per_second=round(speed, 3),
            seconds_left=round(left, 1),
            mfu=None if self._peak is None else round(self._operations / seconds / self._peak, 4),
        )
        if self._written is None or now - self._written >= INTERVAL:
            if self._written is not None:
                self._write()
            self._written, self._tokens_written, self._operations = now, tokens, 0

    def stopped(self) -> None:
        """Says that the training was asked to stop, and did."""
        self._ended = RunState.STOPPED

    def _end(self, state: RunState) -> None:
        self._progress = self._progress.model_copy(update={"state": state})
        self._write()

    def _before(self) -> TrainingProgress:
        """What the training that this one goes on from had come to."""
        before, new = _read(self._store), self._progress
        if before is None or (before.stage, before.steps) != (new.stage, new.steps):
            return new
        return before.model_copy(update={"state": RunState.RUNNING})

    def _write(self) -> None:
        _write(self._store, self._progress)


class Preparation:
    """What comes before a stage's first step: that it gets on is told to ranks that wait, and in the record.

    The record keeps the step of a training that goes on.
    """

    def __init__(
        self, store: Store, plan: ParallelPlan, stage: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._plan = plan
        self._stage = stage
        self._clock = clock
        self._pieces = 0
        self._told = clock()
        self._former: TrainingProgress | None = None

    def alone(self, work: Callable[[GetsOn], T]) -> T:
        """As the plan's own. Raises StoreError too."""
        return self._plan.alone(lambda tell: work(lambda: self.gets_on(tell)))

    def gets_on(self, tell: GetsOn = lambda: None) -> None:
        """Counts a piece, and tells of it where what was told last is old enough. Raises StoreError."""
        self._pieces += 1
        now = self._clock()
        if now - self._told < INTERVAL or not self._plan.is_main:
            return
        self._told = now
        tell()
        before = self._former = self._former or _read(self._store)
        if before is None or before.stage != self._stage:
            before = TrainingProgress(state=RunState.RUNNING, stage=self._stage, steps=0)
        _write(self._store, before.model_copy(update={"state": RunState.RUNNING, "prepared": self._pieces}))

    def was_for_nothing(self) -> None:
        """Has the record say again what it said before: the stage was done long since. Raises StoreError."""
        if self._former:
            _write(self._store, self._former)


def _read(store: Store) -> TrainingProgress | None:
    try:
        return TrainingProgress.model_validate_json(store.read(PROGRESS))
    except (FileNotFoundError, ValidationError):
        return None


def _write(store: Store, progress: TrainingProgress) -> None:
    stores.write(store, PROGRESS, progress.model_dump_json(indent=1).encode())
