"""Cross entropy straight from hidden states, so that the logits of a whole batch never exist at once."""

from typing import Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

IGNORE = -100
"""A target that is not scored."""

CHUNK_LOGITS = 1 << 22
"""Logits at a time: 16 MiB of float32, which a CPU's cache holds."""

CHUNK_LOGITS_ON_GPU = 1 << 27
"""512 MiB: thousands of tokens at a time, as a GPU needs to be busy."""


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The sum in nats, float32: hidden (batch, sequence, hidden), weight (vocab, hidden), targets (batch, sequence)."""
    scored = targets != IGNORE
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden = hidden.to(torch.get_autocast_dtype(device))
    with torch.autocast(device, enabled=False):
        return _ChunkedCrossEntropy.apply(hidden[scored], weight, targets[scored])  # type: ignore[no-any-return, no-untyped-call]


@torch.no_grad()
def token_nats(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy of each token, float32: hidden (tokens, hidden), weight (vocab, hidden), targets (tokens)."""
    rows = _rows(weight)
    chunks = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    return torch.cat([functional.cross_entropy((h @ weight.T).float(), t, reduction="none") for h, t in chunks])


class _ChunkedCrossEntropy(autograd.Function):
    """The gradients are found in the forward pass, chunk by chunk, while the chunk's logits are there."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:  # noqa: ANN401
        """The sum: hidden (tokens, hidden), weight (vocab, hidden) in any wider type, targets (tokens)."""
        rows = _rows(weight)
        narrow = weight.to(hidden.dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, hidden.shape[0], rows):
            chunk, target = hidden[start : start + rows], targets[start : start + rows, None]
            log_probabilities = functional.log_softmax(chunk @ narrow.T, dim=-1, dtype=torch.float32)
            total -= log_probabilities.gather(1, target).sum()
            gradient = log_probabilities.exp_()  # softmax minus the one-hot target
            gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
            gradient = gradient.to(hidden.dtype)
            torch.mm(gradient, narrow, out=grad_hidden[start : start + rows])
            grad_weight += gradient.T @ chunk
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, None


def _rows(weight: Tensor) -> int:
    """Tokens at a time."""
    return max(1, (CHUNK_LOGITS_ON_GPU if weight.is_cuda else CHUNK_LOGITS) // weight.shape[0])
