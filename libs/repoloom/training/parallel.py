"""Where parallelism meets the loop: who holds the model, what crosses ranks, who writes."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from repoloom.errors import InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.training.checkpoint import State
from repoloom.training.config import TrainParams
from repoloom.training.forms import Parallel
from repoloom.training.model import Llama
from repoloom.training.objective import Objective
from repoloom.training.optimizer import LeanAdamW, new_optimizer

T = TypeVar("T")


class Ranks(Protocol):
    """Have one of them do what all of them need."""

    def on_main(self, work: Callable[[Heartbeat], T]) -> T:
        """What the work comes to, which the main rank does. The others wait for it as long as its heart beats.

        A piece of it that takes longer than the ranks' patience ends the run. Raises on every rank what the work
        raises, as UnavailableError on the others where it is no RepoloomError.
        """
        ...


class ParallelPlan(Ranks, Protocol):
    """One process's place in a run."""

    rank: int  # among the data-parallel ranks
    ranks: int
    device: torch.device
    software: tuple[str, ...]  # besides torch, that the weights hang on

    @property
    def is_main(self) -> bool:
        """Whether this process reports and writes checkpoints."""
        ...

    def agree(self, facts: Mapping[str, str]) -> None:
        """Raises InputError, on every rank, where one has others than the main one: it would train something else."""
        ...

    def share(self, value: T) -> T:
        """What the main rank gave."""
        ...

    def place(
        self, model: Llama, weights: Iterator[Tensor], params: TrainParams, moments: Mapping[str, Tensor] | None
    ) -> nn.Module:
        """The objective on its device, with its optimizer, sharded or replicated as the plan has it.

        The model comes without weights, and gets those that the main rank gives, which are in its parameters' order and
        are taken one at a time. The optimizer goes on from the moments of that rank, where it gives some.
        """
        ...

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a micro-batch to those of the step."""
        ...

    def step(self, rate: float) -> Tensor:
        """Adds up the gradients of all ranks, clips them, and moves the weights at that learning rate.

        Returns the gradients' norm before, over the whole model. Where it is not finite, no weight moves.
        """
        ...

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a number over all data-parallel ranks."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank, so that all of them do the same."""
        ...

    def state(self) -> State:
        """Of the whole model, on the main rank. Every rank calls it, for what is sharded is gathered."""
        ...

    def release(self) -> None:
        """Lets go of what was placed, so that there is room for another model."""
        ...


class SingleProcess:
    """One process, one device: nothing crosses."""

    rank = 0
    ranks = 1
    is_main = True
    software: tuple[str, ...] = ()

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Llama
        self._optimizer: LeanAdamW
        self._clip: float

    def agree(self, facts: Mapping[str, str]) -> None:
        """It is of one mind with itself."""

    def share(self, value: T) -> T:
        return value

    def on_main(self, work: Callable[[Heartbeat], T]) -> T:
        return work(unheard)

    def place(
        self, model: Llama, weights: Iterator[Tensor], params: TrainParams, moments: Mapping[str, Tensor] | None
    ) -> nn.Module:
        self._model = model.to_empty(device=self.device)
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.data.copy_(weight)
        if self.device.type == "cuda":
            compile_layers(self._model)
        self._optimizer = new_optimizer(self._model, params)
        self._clip = params.gradient_clip
        if moments:
            self._load(moments)
        return Objective(self._model)

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        if norm.isfinite():
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def sum(self, value: Tensor) -> Tensor:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def state(self) -> State:
        moments = {
            f"{name}/{key}": value
            for name, parameter in self._model.named_parameters()
            for key, value in self._optimizer.state[parameter].items()
        }
        return State(self._model.state_dict(), moments)

    def release(self) -> None:
        del self._model, self._optimizer
        gc.collect()

    def _load(self, moments: Mapping[str, Tensor]) -> None:
        parameters = dict(self._model.named_parameters())
        for path, value in moments.items():
            name, _, key = path.rpartition("/")
            parameter = parameters[name]
            # A fused AdamW keeps its step counts where the parameter is, in float32.
            self._optimizer.state[parameter][key] = value.to(parameter.device)


def open_plan(parallel: Parallel, patience: float) -> AbstractContextManager[ParallelPlan]:
    """The plan of this process; ranks wait `patience` seconds for one another. Raises InputError, UnavailableError."""
    if parallel is not Parallel.SINGLE:
        from repoloom.training.zero import zero  # DeepSpeed is there only where it is wanted

        return zero(int(parallel.removeprefix("zero")), patience)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun started more than one process; say how they share the work: `--parallel zero1`")
    return nullcontext(SingleProcess())


def compile_layers(model: Llama) -> None:
    """Has the layers compiled for a GPU when they first run, once for all, since they differ by their weights alone.

    Raises InputError where there is no C compiler, which Triton calls.
    """
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        raise InputError("training on a GPU takes a C compiler: sudo apt-get install gcc libc6-dev, or set CC")
    for layer in model.model.layers:
        layer.compile()
