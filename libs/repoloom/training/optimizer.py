"""The optimizer of a model: torch's AdamW, fused, which decays matrices and leaves norms alone."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.optim import AdamW, Optimizer

from repoloom.training.config import TrainParams
from repoloom.training.model import Llama

F = TypeVar("F", bound=Callable[..., object])

_NORM = "norm.weight"


def _bare(method: F) -> F:
    """A method of torch's optimizers without what torch, as far as 2.13, has around it for its compiler."""
    return getattr(method, "__wrapped__", method)


class LeanAdamW(AdamW):
    """AdamW that does not import torch's compiler, which takes longer than a small training takes to begin."""

    add_param_group = _bare(Optimizer.add_param_group)
    zero_grad = _bare(Optimizer.zero_grad)
    step = torch.no_grad()(_bare(AdamW.step))


def new_optimizer(model: Llama, params: TrainParams) -> LeanAdamW:
    """The optimizer of a model's parameters, which it knows by their names: a rank's share of a matrix is none."""
    named = list(model.named_parameters())
    matrices = [parameter for name, parameter in named if not name.endswith(_NORM)]
    norms = [parameter for name, parameter in named if name.endswith(_NORM)]
    groups = [{"params": matrices, "weight_decay": params.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return LeanAdamW(groups, lr=params.learning_rate, betas=params.betas, fused=True)
