"""Attention over packed sequences: each document of a sequence sees itself and its past, and nothing else."""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

FLASH_ATTN = find_spec("flash_attn") is not None
"""Whether the package flash-attn is there: its kernel is taken then, where there is a GPU, and torch's own else."""


def kernel(device: torch.device) -> str:
    """What attends in a training on that device, with its version where that is not torch's."""
    flash_attn = FLASH_ATTN and device.type == "cuda"
    return f"flash-attn {version('flash-attn')}" if flash_attn else "torch's attention"


class Documents(NamedTuple):
    """Where the documents of a batch lie, sequences end to end: a kernel then passes over what a mask only hides."""

    starts: Tensor  # (documents + 1), int32; the last is where the last document ends
    longest: int  # tokens; no document has more


Visible: TypeAlias = Tensor | Documents
"""What each token sees: a mask (batch or 1, 1, sequence, past + sequence), True where visible, or documents."""


def packed_mask(segments: Tensor) -> Tensor:
    """Segment ids (batch, sequence) -> block-diagonal, causal (batch, 1, sequence, sequence), True where visible."""
    same = segments[:, None, :, None] == segments[:, None, None, :]
    return same.tril_()


def packed_documents(positions: Tensor) -> Documents:
    """The same from positions (batch, sequence), which are from 0 in every document."""
    kernels = "flash_attn" if FLASH_ATTN else "torch.nn.attention.varlen"
    import_module(kernels)  # before the compiler traces `_attend_within`
    starts = functional.pad((positions.flatten() == 0).nonzero()[:, 0], (0, 1), value=positions.numel()).int()
    torch._dynamo.maybe_mark_dynamic(starts, 0)  # else the model is compiled anew for another number of documents
    return Documents(starts, positions.shape[1])


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Visible) -> Tensor:
    """Scaled dot-product attention, key-value heads shared among groups of query heads.

    query (batch, heads, sequence, head_dim); key and value (batch, key_value_heads, past + sequence, head_dim)
    -> (batch, heads, sequence, head_dim). Documents are seen on a GPU alone, in 16 bits, and without a past.
    """
    if isinstance(visible, Documents):
        return _attend_within(query, key, value, visible)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=visible, enable_gqa=True)


def _attend_within(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """Flash attention (arXiv 2307.08691) over documents of any lengths."""
    batch, heads, sequence, size = query.shape
    query, key, value = (x.to(value.dtype).transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    attend_tokens = _by_flash_attn if FLASH_ATTN else _by_torch
    return attend_tokens(query, key, value, documents).view(batch, sequence, heads, size).transpose(1, 2)


def _by_flash_attn(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """(tokens, heads, head_dim) each, and so is what it returns; key and value may have fewer heads."""
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]

    starts, longest = documents
    attended: Tensor = flash_attn_varlen_func(
        query, key, value, starts, starts, longest, longest, causal=True, deterministic=True
    )
    return attended


def _by_torch(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """The same."""
    # Here, since it takes seconds to import with all that it brings, and none but a GPU needs it.
    from torch.nn.attention.varlen import varlen_attn

    group = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(group, 1) if group > 1 else x for x in (key, value))  # torch 2.11 shares no heads
    starts, longest = documents
    # Of the past everything is seen, of the future nothing.
    attended = varlen_attn(query, key, value, starts, starts, longest, longest, window_size=(-1, 0))
    assert isinstance(attended, Tensor)  # since nothing besides was asked for
    return attended
