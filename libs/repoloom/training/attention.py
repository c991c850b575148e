"""Attention over packed sequences: each document of a sequence sees itself and its past, and nothing else."""

from torch import Tensor
from torch.nn import functional


def packed_mask(segments: Tensor) -> Tensor:
    """Segment ids (batch, sequence) -> block-diagonal, causal (batch, 1, sequence, sequence), True where visible."""
    same = segments[:, None, :, None] == segments[:, None, None, :]
    return same.tril_()


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention, key-value heads shared among groups of query heads.

    query (batch, heads, sequence, head_dim); key and value (batch, key_value_heads, past + sequence, head_dim);
    mask (batch or 1, 1, sequence, past + sequence), True where visible -> (batch, heads, sequence, head_dim).
    """
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
