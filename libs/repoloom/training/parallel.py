"""Where parallelism meets the loop: who holds the model, how gradients and sums cross ranks, who writes."""

from typing import Protocol

import torch
from torch import Tensor, nn

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
