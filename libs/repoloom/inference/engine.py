"""Continuous batching: sequences join and leave a batch that runs, token by token, in a thread of its own.

A slot that is free takes the next sequence that waits. Between two decoding steps of the batch at most one chunk of one
prompt is read, so that a long prompt delays the others' tokens by one chunk and no more.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from repoloom.errors import UnavailableError
from repoloom.inference.generate import Sampling, choose
from repoloom.inference.slots import Slots
from repoloom.telemetry import metrics
from repoloom.training.model import Llama

_logger = logging.getLogger(__name__)
CHUNK = 512
"""Tokens of a prompt that are read at once; where a prompt is cut depends on itself alone."""
_FIRST_GUESS = 1.0  # seconds that a sequence takes, before one has ended
_LONGEST_WAIT = 30.0


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model ended it, or it came to a text to stop at."""
    LENGTH = "length"
    """It is as long as was asked for."""


class QueueFullError(UnavailableError):
    """As many sequences wait as may."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds  # when to ask again


class Listener(Protocol):
    """Whoever is told how a sequence goes on, in the engine's thread."""

    def take(self, token: int) -> bool:
        """Takes the next token; False ends the sequence."""
        ...

    def end(self, finish: Finish) -> None:
        """Is told that the sequence ended."""
        ...

    def fail(self, error: Exception) -> None:
        """Is told that there comes no more."""
        ...


@dataclass(eq=False)
class Completion:
    """A prompt and what is to follow it."""

    prompt: Sequence[int]  # at least one token
    sampling: Sampling
    listener: Listener
    cancelled: bool = False  # set by whoever no longer listens; it is dropped before its next token
    queued_at: float = field(default_factory=time.monotonic)


class Engine:
    """Runs completions side by side; used from any thread, and stopped once."""

    def __init__(self, model: Llama, vocabulary: int, slots: int, context: int, queue: int) -> None:
        """At most `slots` completions of up to `context` tokens run, and `queue` more wait."""
        self._batch = _Batch(model.eval(), vocabulary, Slots(model, slots, context))
        self._queue = queue
        self._waiting: deque[Completion] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds = _FIRST_GUESS
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs what it is given."""
        return self._thread.is_alive()

    def submit(self, completions: Sequence[Completion]) -> None:
        """Takes all of them, or none. Raises QueueFullError, UnavailableError."""
        with self._changed:
            if self._stopping or not self.alive:
                raise UnavailableError("the engine has stopped")
            room = self._queue + self._batch.free - len(self._waiting)
            if len(completions) > room:
                turns = 1 + len(self._waiting) / self._batch.slots.count
                raise QueueFullError(
                    f"{len(self._waiting)} completions wait already, and at most {self._queue} may",
                    min(_LONGEST_WAIT, turns * self._seconds),
                )
            self._waiting.extend(completions)
            metrics.completions_waiting(len(self._waiting))
            self._changed.notify()

    def stop(self) -> None:
        """Ends what runs and waits for the thread; whoever listens is told."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        error: Exception = UnavailableError("the server stopped before the completion was done")
        try:
            while self._admit():
                for started in self._batch.step():
                    self._seconds += 0.1 * (time.monotonic() - started - self._seconds)
        except Exception as failure:  # of torch: out of memory, a device that is lost; the process is to be restarted
            _logger.exception("the engine failed")
            error = UnavailableError(f"the engine failed: {type(failure).__name__}")
            error.__cause__ = failure
        with self._changed:
            self._stopping = True
            left = [*self._batch.completions, *self._waiting]
            self._waiting.clear()
        metrics.completions_waiting(0)
        metrics.completions_running(0)
        for completion in left:
            completion.listener.fail(error)

    def _admit(self) -> bool:
        """Gives free slots to those who wait, and waits where there is nothing to do; False once it is to stop."""
        with self._changed:
            while True:
                self._waiting = deque(one for one in self._waiting if not one.cancelled)
                while self._waiting and self._batch.free:
                    self._batch.add(self._waiting.popleft())
                metrics.completions_waiting(len(self._waiting))
                if self._stopping:
                    return False
                if self._batch.completions:
                    return True
                self._changed.wait()


@dataclass(eq=False)
class _Running:
    completion: Completion
    slot: int
    generator: torch.Generator
    started: float = field(default_factory=time.monotonic)
    length: int = 0  # tokens that the slot holds
    written: int = 0
    last: int | None = None  # the newest token, not yet in the slot; None while the prompt is read


class _Batch:
    """What runs now; used by the engine's thread alone, but for `free`."""

    def __init__(self, model: Llama, vocabulary: int, slots: Slots) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self.slots = slots
        self._running: list[_Running] = []

    @property
    def free(self) -> int:
        """How many more may be added."""
        return self.slots.count - len(self._running)

    @property
    def completions(self) -> list[Completion]:
        """Those that run."""
        return [running.completion for running in self._running]

    def add(self, completion: Completion) -> None:
        """Gives it a slot."""
        slot = min(set(range(self.slots.count)) - {running.slot for running in self._running})
        generator = torch.Generator(self._model.output_weight.device).manual_seed(completion.sampling.seed)
        self._running.append(_Running(completion, slot, generator))

    @torch.inference_mode()
    def step(self) -> list[float]:
        """Reads a chunk of a prompt and decodes a token of all others; when those that ended had started."""
        for running in [running for running in self._running if running.completion.cancelled]:
            self._leave(running)
        before = list(self._running)
        if reading := next((running for running in self._running if running.last is None), None):
            self._read(reading)
        if decoding := [running for running in self._running if running.last is not None and running is not reading]:
            self._decode(decoding)
        metrics.engine_stepped(len(before))
        metrics.completions_running(len(self._running))
        return [running.started for running in before if running not in self._running]

    def _read(self, running: _Running) -> None:
        prompt = running.completion.prompt
        chunk = prompt[running.length : running.length + CHUNK]
        hidden = self.slots.read(running.slot, list(chunk), running.length)
        running.length += len(chunk)
        if running.length == len(prompt):
            self._choose({0: running}, hidden[None])

    def _decode(self, decoding: list[_Running]) -> None:
        tokens = {running.slot: running.last for running in decoding if running.last is not None}
        hidden = self.slots.decode(tokens, {running.slot: running.length for running in decoding})
        for running in decoding:
            running.length += 1
        self._choose({running.slot: running for running in decoding}, hidden)

    def _choose(self, decoding: dict[int, _Running], hidden: Tensor) -> None:
        """Chooses the next token of each out of its row of hidden states (rows, hidden), and gives it."""
        logits = self._model.logits(hidden)[:, : self._vocabulary].float()
        following = logits.argmax(dim=-1)  # of all at once, and fetched at once: a GPU is asked for little and seldom
        for row, running in decoding.items():
            if running.completion.sampling.temperature:
                following[row] = choose(logits[row, None], running.completion.sampling, running.generator)[0]
        tokens = following.tolist()
        for row, running in decoding.items():
            self._give(running, tokens[row])

    def _give(self, running: _Running, token: int) -> None:
        """Tells a completion's next token to who listens."""
        completion = running.completion
        if not running.written:
            metrics.first_token(time.monotonic() - completion.queued_at)
        running.last = token
        running.written += 1
        if not completion.listener.take(token):
            finish = Finish.STOP
        elif running.written == completion.sampling.max_new_tokens:
            finish = Finish.LENGTH
        else:
            return
        self._leave(running)
        metrics.completion_ended(finish.value, len(completion.prompt), running.written)
        completion.listener.end(finish)

    def _leave(self, running: _Running) -> None:
        self._running.remove(running)
        self.slots.clear(running.slot, running.length)
