"""ZeRO over the ranks that torchrun started: each holds a share of what training remembers (arXiv 1910.02054).

DeepSpeed shards the optimizer's moments (stage 1), the gradients (2) and the weights (3), these from the beginning: a
model may then be larger than what one device holds. What a checkpoint holds is gathered whole on the main rank, so that
a run goes on with any number of ranks, and with any stage. That rank alone reads and writes checkpoints; the others
have what it read from it.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import deepspeed
import torch
from deepspeed.runtime import compiler
from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state, safe_set_full_optimizer_state
from torch import Tensor, distributed, nn

from repoloom.errors import InputError, RepoloomError, UnavailableError
from repoloom.heartbeat import Heartbeat
from repoloom.training.checkpoint import State
from repoloom.training.config import TrainParams
from repoloom.training.model import Llama
from repoloom.training.objective import Objective
from repoloom.training.optimizer import LeanAdamW, new_optimizer

T = TypeVar("T")

_MOMENTS = ("exp_avg", "exp_avg_sq")
_STEP = "step"

ZERO_SUPPORTED_OPTIMIZERS.append(LeanAdamW)  # it is AdamW, which DeepSpeed knows by its type alone


@contextmanager
def zero(stage: int, patience: float) -> Iterator["Zero"]:
    """The plan of this process among those that torchrun started.

    `patience`: seconds that ranks wait for one another. Raises InputError where torchrun did not start this process,
    UnavailableError where another rank died or hangs.
    """
    if "RANK" not in os.environ:
        raise InputError("ranks are started by torchrun: `torchrun --nproc-per-node 2 -m repoloom train ...`")
    _check_store(os.environ)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    compiler.compile = lambda: compiler.dummy_decorator  # else an optimizer that nothing uses is compiled, for seconds
    # Else it is compiled now, under a lock that a killed rank leaves behind, and that all ranks after it wait for.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    try:
        distributed.init_process_group(backend, timeout=timedelta(seconds=patience))
        deepspeed.init_distributed(backend, verbose=False)
        yield Zero(stage, device)
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise UnavailableError(
            f"rank {os.environ['RANK']} lost another rank, which died, or did nothing for {patience:g} s: {error}"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _check_store(environment: Mapping[str, str]) -> None:
    """Refuses a torchrun that would start ranks anew and let them find the addresses of those before them.

    It keeps them in one store from its start to its end, whatever rounds of ranks there are (torch 2.13,
    `torch.distributed.rendezvous._create_c10d_store`), and they would wait for the dead. The variable has each round
    make a store of its own.
    """
    one_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if one_store and environment.get("TORCHELASTIC_MAX_RESTARTS") != "0":
        raise InputError(
            "ranks that torchrun starts anew would wait for those that ended; set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "
            "where torchrun is started, or leave out --max-restarts and start it anew: it goes on from the checkpoint"
        )


class Zero:
    """One rank of a group."""

    software: tuple[str, ...] = (f"deepspeed {deepspeed.__version__}",)

    def __init__(self, stage: int, device: torch.device) -> None:
        self.device = device
        self.rank = distributed.get_rank()
        self.ranks = distributed.get_world_size()
        self.is_main = self.rank == 0
        self._stage = stage
        self._model: Llama
        self._engine: Any

    def agree(self, facts: Mapping[str, str]) -> None:
        every: list[Mapping[str, str]] = [{}] * self.ranks
        distributed.all_gather_object(every, {**facts, "stage": str(self._stage)})
        for rank, theirs in enumerate(every):
            for name, value in every[0].items():
                if theirs[name] != value:
                    raise InputError(
                        f"rank {rank} has another {name} than rank 0, {theirs[name]} instead of {value}; "
                        "give all ranks the same recipe, corpus, options and software"
                    )

    def share(self, value: T) -> T:
        shared = [value]
        distributed.broadcast_object_list(shared, 0)
        return shared[0]

    def on_main(self, work: Callable[[Heartbeat], T]) -> T:
        pending: tuple[T, ...] | RepoloomError = ()  # sharing it begins the others' patience anew
        if not self.is_main:
            while not (outcome := self.share(pending)):
                pass
            if isinstance(outcome, RepoloomError):
                raise outcome
            return outcome[0]

        def heartbeat() -> None:
            self.share(pending)

        try:
            made = work(heartbeat)
        except Exception as error:
            known = isinstance(error, RepoloomError)
            self.share(error if known else UnavailableError(f"the main rank failed: {error!r}"))
            raise
        self.share((made,))
        return made

    def place(
        self, model: Llama, weights: Iterator[Tensor], params: TrainParams, moments: Mapping[str, Tensor] | None
    ) -> nn.Module:
        goes_on = self.any(moments is not None)
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self._model = model
        self._set_weights(weights)
        self._engine, *_ = deepspeed.initialize(
            model=Objective(model), optimizer=new_optimizer(model, params), config=self._config(params)
        )
        if self._stage == 3:  # the loss reads the embedding outside the module that has it
            deepspeed.zero.register_external_parameter(self._engine.module, model.output_weight)
        self._begin_moments()
        if goes_on:
            self._set_moments(shapes, moments)
        return self._engine  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss * self.ranks)  # DeepSpeed takes the mean over the ranks

    def step(self, rate: float) -> Tensor:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()
        return torch.as_tensor(self._engine.get_global_grad_norm())

    def sum(self, value: Tensor) -> Tensor:
        total = value.to(self.device)
        distributed.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        return bool(self.sum(torch.tensor(int(flag))).item())

    def state(self) -> State:
        weights: dict[str, Tensor] = {}
        moments: dict[str, Tensor] = {}
        step = next(iter(self._optimizer.state.values()))[_STEP]
        for name, parameter in self._model.named_parameters():
            whole = {name: safe_get_full_fp32_param(parameter)}
            whole |= {f"{name}/{key}": safe_get_full_optimizer_state(parameter, key) for key in _MOMENTS}
            if self.is_main:
                weights[name] = whole.pop(name).cpu()
                moments |= {path: value.cpu() for path, value in whole.items()}
                moments[f"{name}/{_STEP}"] = step.cpu()
        return State(weights, moments)

    def release(self) -> None:
        self._engine.destroy()
        del self._model, self._engine
        gc.collect()

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW over this rank's share, inside DeepSpeed's own."""
        return self._engine.optimizer.optimizer  # type: ignore[no-any-return]

    def _set_weights(self, weights: Iterator[Tensor]) -> None:
        """Deals out those that the main rank has; at stage 3 a rank has its share of them, and one module's whole."""
        for module in self._model.modules():
            own = list(module.to_empty(device=self.device, recurse=False).parameters(recurse=False))
            for parameter in own:
                if self.is_main:
                    parameter.data.copy_(next(weights))
                if self._stage < 3:
                    distributed.broadcast(parameter.data, 0)
            if own and self._stage == 3:
                deepspeed.zero.Init(module=module)  # sends them, and leaves each rank its share

    def _begin_moments(self) -> None:
        """As AdamW begins them; it would do so too late for DeepSpeed to know where each parameter's moments are."""
        sharded = self._engine.optimizer
        shares = sharded.fp32_partitioned_groups_flat if self._stage == 3 else sharded.single_partition_of_fp32_groups
        for share in shares:
            moments = {key: torch.zeros_like(share) for key in _MOMENTS}
            self._optimizer.state[share] = {_STEP: torch.zeros((), device=share.device), **moments}
        if self._stage < 3:
            sharded._lazy_init_hp_params_optimizer_state()

    def _set_moments(self, shapes: Mapping[str, torch.Size], moments: Mapping[str, Tensor] | None) -> None:
        """Deals out those that the main rank has."""
        for name, parameter in self._model.named_parameters():
            for key in (*_MOMENTS, _STEP):
                value = torch.empty(shapes[name] if key != _STEP else (), device=self.device)
                if moments:
                    value.copy_(moments[f"{name}/{key}"])
                distributed.broadcast(value, 0)
                if key != _STEP:
                    safe_set_full_optimizer_state(parameter, value, key)
        for held in self._optimizer.state.values():
            held[_STEP].copy_(value)  # the last one sent, and that of every parameter

    def _config(self, params: TrainParams) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": params.micro_batch_size,
            "managed_gradient_accumulation": False,  # reduced once a step, whatever the number of micro-batches
            "gradient_clipping": params.gradient_clip,
            "zero_optimization": {"stage": self._stage, "overlap_comm": False},
        }
