"""The training loop: read, forward, backward, step, report, save; the same weights on every run."""

import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite

import torch
from torch import Tensor

from repoloom import __version__
from repoloom.corpus.manifest import canonical_json
from repoloom.errors import CorruptDataError, InputError
from repoloom.heartbeat import Heartbeat
from repoloom.training.attention import kernel
from repoloom.training.checkpoint import Checkpoints, Progress, State
from repoloom.training.config import TrainParams
from repoloom.training.data import Batch, Sequences
from repoloom.training.forms import check_batches
from repoloom.training.model import Llama
from repoloom.training.parallel import ParallelPlan, Ranks
from repoloom.training.sampler import Sampler
from repoloom.training.sizes import Architecture

logger = logging.getLogger("repoloom.training")

NOT_IDENTITY = {"checkpoint_every", "keep"}
"""Parameters that may change between a run and its resumption: no bit of the weights hangs on them."""


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    step: int  # from 1
    steps: int  # of the whole run
    loss: float  # nats per target token, over the whole batch
    learning_rate: float
    gradient_norm: float  # before it was clipped
    samples_consumed: int
    tokens_per_second: float  # read, over all ranks
    operations: int  # that the model took, over all ranks


@dataclass(frozen=True)
class Outcome:
    """Where a run stands when the loop returns."""

    weights: dict[str, Tensor]  # of the whole model, by name, on the main rank; none where it is not finished
    progress: Progress
    finished: bool  # False: it was asked to stop, and goes on from its checkpoint when it is started again
    asked_to_stop: bool


def train(
    params: TrainParams,
    data: Sequences,
    *,
    data_digest: str,
    vocabulary: int,
    checkpoints: Checkpoints,
    plan: ParallelPlan,
    report: Callable[[StepReport], None],
    saving: Callable[[], None] = lambda: None,
    begin: Callable[[Heartbeat], Llama] | None = None,
    ranks: Ranks | None = None,
) -> Outcome:
    """Trains from the newest checkpoint to the last step, or until SIGTERM or SIGINT, which end it after a step.

    `data_digest` is the digest of the packed dataset and `vocabulary` the number of its tokenizer's tokens. `report` is
    told of each step, and `saving` is called before each checkpoint. `begin` reads the model that a run without a
    checkpoint begins with, on the main rank; by default it is a new one. `ranks` are who has that rank read and save;
    by default the plan. Raises InputError where there is nothing to train on or the loss diverges, and what
    `Checkpoints` raises.
    """
    if not len(data):
        raise InputError("the packed dataset holds no sequence to train on")
    check_batches(params.batch_size, params.micro_batch_size, plan.ranks)
    identity = run_identity(params, vocabulary, data_digest)
    versions = (f"repoloom {__version__}", f"torch {torch.__version__}", kernel(plan.device), *plan.software)
    software = ", ".join(versions)
    plan.agree({"dataset": data_digest, "run": identity, "software": software})
    make_deterministic(params.threads)
    ranks, architecture = ranks or plan, params.architecture(vocabulary)
    origin: Llama | None = None
    moments: dict[str, Tensor] | None = None

    def restore(heartbeat: Heartbeat) -> Progress:
        nonlocal origin, moments
        progress, state = checkpoints.restore(identity, heartbeat)
        if state is not None:
            origin, moments = Llama.of(architecture, state.weights), state.moments
        elif begin:
            origin = begin(heartbeat)
        if progress.software not in ("", software):
            logger.warning(
                "the run has come to step %d by %s and goes on by %s: its weights may differ in their last bits from "
                "those of a run by either",
                progress.step,
                progress.software,
                software,
            )
        return progress.model_copy(update={"software": software})

    def save(state: State, progress: Progress, heartbeat: Heartbeat) -> None:
        saving()
        checkpoints.save(state, progress, heartbeat)

    progress = ranks.on_main(restore)
    model = Llama.without_weights(architecture)
    objective = plan.place(model, origin.parameters() if origin else model.first_weights(params.seed), params, moments)
    origin = moments = None  # else what was read stays in memory until the run ends
    sampler = Sampler(len(data), params.seed)
    steps = params.total_steps(len(data))

    with stop_requests() as stopping:
        stop = False
        while progress.step < steps and not stop:
            began = time.perf_counter()
            rate = params.rate(progress.step, steps)
            share = sampler.batch(progress.samples_consumed, params.batch_size, plan.rank, plan.ranks)
            micro_batches = [
                read(data, share[start : start + params.micro_batch_size], architecture)
                for start in range(0, len(share), params.micro_batch_size)
            ]
            targets, pairs = plan.sum(torch.stack([batch.counts() for batch in micro_batches]).sum(0))
            loss = torch.zeros((), device=plan.device)
            for batch in micro_batches:
                batch_loss = objective(batch.to(plan.device)) / targets.clamp(min=1)
                plan.backward(batch_loss)
                loss += batch_loss.detach()
            norm = plan.step(rate)
            loss = plan.sum(loss)
            if not (isfinite(loss.item()) and isfinite(norm.item())):
                raise InputError(
                    f"at step {progress.step + 1} the loss is {loss.item()} "
                    f"and the norm of its gradient {norm.item()}; lower learning_rate"
                )

            progress = progress.model_copy(
                update={"step": progress.step + 1, "samples_consumed": progress.samples_consumed + params.batch_size}
            )
            tokens = params.batch_size * params.sequence_length
            if plan.is_main:
                report(
                    StepReport(
                        step=progress.step,
                        steps=steps,
                        loss=loss.item(),
                        learning_rate=rate,
                        gradient_norm=norm.item(),
                        samples_consumed=progress.samples_consumed,
                        tokens_per_second=tokens / (time.perf_counter() - began),
                        operations=architecture.training_operations(tokens, int(pairs)),
                    )
                )
            stop = plan.any(stopping.is_set())  # looked at once, so that a step that ends the run is one that is saved
            if stop:
                stopping.set()  # of all ranks, whichever was asked
            if progress.step % params.checkpoint_every == 0 or progress.step == steps or stop:
                ranks.on_main(partial(save, plan.state(), progress))
        finished = progress.step >= steps
        return Outcome(plan.state().weights if finished else {}, progress, finished, stop)


def read(data: Sequences, samples: list[int], architecture: Architecture) -> Batch:
    """One micro-batch. Raises CorruptDataError if a token is none of the tokenizer's."""
    batch = data.batch(samples)
    if (largest := int(batch.tokens.max())) >= architecture.vocab_size:
        raise CorruptDataError(f"token {largest} is beyond the vocabulary of {architecture.vocab_size}")
    return batch


def new_model(architecture: Architecture, seed: int) -> Llama:
    """A freshly initialised model: a pure function of its arguments."""
    shapes = Llama.without_weights(architecture)
    return Llama.of(architecture, dict(zip(shapes.state_dict(), shapes.first_weights(seed), strict=True)))


def run_identity(params: TrainParams, vocabulary: int, data_digest: str) -> str:
    """What two runs share if and only if one may resume the other."""
    identity = [params.model_dump(mode="json", exclude=NOT_IDENTITY), vocabulary, data_digest]
    return "sha256:" + hashlib.sha256(canonical_json(identity)).hexdigest()


def make_deterministic(threads: int) -> None:
    """Fixes the order of every sum; an operation that knows no fixed one raises RuntimeError."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it; read when CUDA starts
    torch.set_num_threads(threads)
    if torch.cuda.is_available():  # only warned of, attention would take the other way
        torch.use_deterministic_algorithms(True)
    else:
        torch.set_deterministic_debug_mode("error")  # the same, but for torch's compiler, whose import takes seconds
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time, guards nothing


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while the block runs, where it runs in the main thread.

    Once it is set, SIGTERM says nothing more to a rank for good: torchrun sends another when the first one has ended,
    and the others are to end as that one did.
    """
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def stop(*_: object) -> None:
        if not stopping.is_set():
            logger.warning("asked to stop: the step at work is finished and saved first")
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        if stopping.is_set() and "TORCHELASTIC_RUN_ID" in os.environ:
            before[signal.SIGTERM] = signal.SIG_IGN
        for number, handler in before.items():
            signal.signal(number, handler)
