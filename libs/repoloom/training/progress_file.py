"""Telling whoever looks from outside where a training stands: `training-progress.json`, renewed every few seconds."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from repoloom import store as stores
from repoloom.corpus.stored import stored
from repoloom.errors import RepoloomError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Store
from repoloom.training.loop import StepReport
from repoloom.training.parallel import ParallelPlan
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
    """Keeps the record of a stage in a store while ranks are at it; the block's end says what became of it.

    That what comes before and after the steps gets on is told to the ranks that wait, and in the record. The record
    keeps the step of a training that goes on.
    """

    def __init__(
        self,
        store: Store,
        plan: ParallelPlan,
        stage: str,
        *,
        work: str = "",
        is_last: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The training is done when its last stage is."""
        self._store = store
        self._plan = plan
        self._clock = clock
        self._work = work
        self._progress = TrainingProgress(state=RunState.RUNNING, stage=stage, work=work, steps=0)
        self._ended = RunState.DONE if is_last else RunState.RUNNING
        self._former: TrainingProgress | None = None
        self._restored = False
        self._pieces = 0
        self._beaten = clock()
        self._sequence_length: int
        self._peak: float | None
        self._measured: float | None = None
        self._tokens_measured = 0
        self._operations = 0  # since the measurement before

    def __enter__(self) -> Self:
        if self._plan.is_main:
            self._former = stored(self._store, PROGRESS, TrainingProgress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if not self._restored:
                self._end(self._ended)
        else:
            with contextlib.suppress(RepoloomError):  # the error that ended the run is the one to tell of
                self._end(RunState.STOPPED if kind is KeyboardInterrupt else RunState.FAILED)

    def on_main(self, work: Callable[[Heartbeat], T]) -> T:
        """As the plan's own. Raises StoreError too."""
        return self._plan.on_main(lambda tell: work(lambda: self._beat(tell)))

    def heartbeat(self) -> None:
        """Of what every rank does for itself. Raises StoreError."""
        self._beat(unheard)

    def identify(self, run: str) -> None:
        """Says which training it is: the record keeps the step of this very one, and of no other."""
        if self._former and self._former.run == run:
            self._progress = self._former.model_copy(update={"state": RunState.RUNNING, "work": self._work})
        else:
            self._progress = self._progress.model_copy(update={"run": run})

    def restore(self) -> None:
        """Has the record say again what it said before: the stage was done long since. Raises StoreError."""
        self._restored = self._former is not None
        if self._former:
            self._progress = self._former.model_copy(update={"work": self._work})
            self._write()

    def begin(self, steps: int, sequence_length: int, peak: float | None) -> None:
        """Its steps begin, or go on. Raises StoreError.

        `peak`: operations a second of the GPUs, all of them together; None: not known.
        """
        self._sequence_length = sequence_length
        self._peak = peak
        self._progress = self._progress.model_copy(update={"steps": steps})
        self._write()

    def step(self, report: StepReport) -> None:
        """Takes what a step did; writes it where the last writing is old enough. Raises StoreError."""
        tokens = report.samples_consumed * self._sequence_length
        a_step = tokens // report.step
        now = self._clock()
        self._operations += report.operations
        if self._measured is None:  # the first step of this process: of the time before it nothing is known
            read, seconds = a_step, a_step / report.tokens_per_second
        else:
            read, seconds = tokens - self._tokens_measured, max(now - self._measured, 1e-9)
        speed = read / seconds
        left = (report.steps - report.step) * a_step / speed
        self._progress = TrainingProgress(
            state=RunState.RUNNING,
            stage=self._progress.stage,
            run=self._progress.run,
            work=self._work,
            step=report.step,
            steps=report.steps,
            tokens=tokens,
            loss=report.loss,
            learning_rate=report.learning_rate,
            tokens_per_second=round(speed, 3),
            seconds_left=round(left, 1),
            mfu=None if self._peak is None else round(self._operations / seconds / self._peak, 4),
        )
        if self._measured is None or now - self._measured >= INTERVAL:
            if self._measured is not None:
                self._write()
            self._measured, self._tokens_measured, self._operations = now, tokens, 0

    def stopped(self) -> None:
        """Says that the training was asked to stop, and did."""
        self._ended = RunState.STOPPED

    def _beat(self, tell: Heartbeat) -> None:
        """Counts a piece, and tells of it where what was told last is old enough."""
        self._pieces += 1
        now = self._clock()
        if now - self._beaten >= INTERVAL and self._plan.is_main:
            self._beaten = now
            tell()
            self._progress = self._progress.model_copy(update={"prepared": self._pieces})
            self._write()

    def _end(self, state: RunState) -> None:
        self._progress = self._progress.model_copy(update={"state": state})
        self._write()

    def _write(self) -> None:
        if self._plan.is_main:
            stores.write(self._store, PROGRESS, self._progress.model_dump_json(indent=1).encode())
