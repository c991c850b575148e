"""Telling whoever looks from outside where a training stands: `progress.json`, renewed every few seconds."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.errors import RepoloomError
from repoloom.store import Store
from repoloom.training.loop import StepReport
from repoloom.training.progress import PROGRESS, RunState, TrainingProgress
from repoloom.training.sizes import Architecture

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


def flops_per_token(architecture: Architecture) -> float:
    """Operations that training on a token takes: 6 a parameter, and 12 x layers x width x sequence for attention.

    arXiv 2204.02311, appendix B: it counts attention over whole sequences, though documents packed into one do not see
    each other.
    """
    attention = architecture.num_hidden_layers * architecture.hidden_size * architecture.max_position_embeddings
    return 6 * architecture.parameters + 12 * attention


class ProgressFile:
    """Keeps the record in a store while a training runs; the block's end says what became of it."""

    def __init__(
        self,
        store: Store,
        steps: int,
        sequence_length: int,
        seconds_per_token: float | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        stage: str = "",
        is_last: bool = True,
    ) -> None:
        """Of a stage of a training; the training is done when its last one is.

        `seconds_per_token`: what a token would take at the GPUs' peak, all of them together; None: not known.
        """
        self._store = store
        self._sequence_length = sequence_length
        self._at_peak = seconds_per_token
        self._clock = clock
        self._progress = TrainingProgress(state=RunState.RUNNING, stage=stage, steps=steps)
        self._ended = RunState.DONE if is_last else RunState.RUNNING
        self._written = 0.0
        self._tokens_written: int | None = None

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
        now = self._clock()
        if self._tokens_written is None:  # the first step of this process: of the time before it nothing is known
            self._written, self._tokens_written = now, tokens
            speed = report.tokens_per_second
        else:
            speed = (tokens - self._tokens_written) / max(now - self._written, 1e-9)
        left = (report.steps - report.step) * tokens / report.step / speed
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
            mfu=None if self._at_peak is None else round(speed * self._at_peak, 4),
        )
        if now - self._written >= INTERVAL:
            self._write()
            self._written, self._tokens_written = now, tokens

    def stopped(self) -> None:
        """Says that the training was asked to stop, and did."""
        self._ended = RunState.STOPPED

    def _end(self, state: RunState) -> None:
        self._progress = self._progress.model_copy(update={"state": state})
        self._write()

    def _before(self) -> TrainingProgress:
        """What the training that this one goes on from had come to."""
        try:
            before = TrainingProgress.model_validate_json(self._store.read(PROGRESS))
        except (FileNotFoundError, ValidationError):
            return self._progress
        return (
            before.model_copy(update={"state": RunState.RUNNING})
            if (before.stage, before.steps) == (self._progress.stage, self._progress.steps)
            else self._progress
        )

    def _write(self) -> None:
        stores.write(self._store, PROGRESS, self._progress.model_dump_json(indent=1).encode())
