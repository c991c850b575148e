"""Where parallelism meets the loop: who holds the model, what crosses ranks, who writes."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from repoloom.training.checkpoint import State
from repoloom.training.model import Llama


class ParallelPlan(Protocol):
    """One process's place in a run."""

    rank: int  # among the data-parallel ranks
    ranks: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process reports and writes checkpoints."""
        ...

    def place(self, model: Llama) -> Llama:
        """The model on its device, sharded or replicated as the plan has it."""
        ...

    def reduce_gradients(self, model: nn.Module) -> None:
        """Adds up the gradients of all data-parallel ranks, once the last micro-batch of a step is through."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a number over all data-parallel ranks."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank, so that all of them do the same."""
        ...

    def clip(self, model: nn.Module, limit: float) -> Tensor:
        """Scales the gradients down to the limit; their norm before, over the whole model."""
        ...

    def state(self, model: nn.Module, optimizer: Optimizer) -> State:
        """Weights and moments of the whole model. Every rank calls it, for a sharded model is gathered."""
        ...

    def load(self, model: nn.Module, optimizer: Optimizer, state: State) -> None:
        """Puts weights and moments where the plan holds them."""
        ...


class SingleProcess:
    """One process, one device: nothing crosses."""

    rank = 0
    ranks = 1
    is_main = True

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def place(self, model: Llama) -> Llama:
        return model.to(self.device)

    def reduce_gradients(self, model: nn.Module) -> None:
        """Its gradients are the sum already."""

    def sum(self, value: Tensor) -> Tensor:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def clip(self, model: nn.Module, limit: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(model.parameters(), limit)

    def state(self, model: nn.Module, optimizer: Optimizer) -> State:
        moments = {
            f"{name}/{key}": value
            for name, parameter in model.named_parameters()
            for key, value in optimizer.state[parameter].items()
        }
        return State(model.state_dict(), moments)

    def load(self, model: nn.Module, optimizer: Optimizer, state: State) -> None:
        model.load_state_dict(state.weights)
        parameters = dict(model.named_parameters())
        for path, value in state.moments.items():
            name, _, key = path.rpartition("/")
            parameter = parameters[name]
            # A fused AdamW keeps its step counts where the parameter is, in float32.
            optimizer.state[parameter][key] = value.to(parameter.device)
