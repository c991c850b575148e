"""Tensors as a safetensors file, piece by piece: what is saved is never in memory a second time.

The form is that of github.com/huggingface/safetensors, "Format": the header's length in eight bytes, the header, JSON
that says of each tensor its type, shape and place, and the tensors' bytes without a gap, little-endian, row by row.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

Bytes: TypeAlias = bytes | memoryview

_TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_ALIGNMENT = 8  # bytes, of where the tensors begin


def serialized(tensors: Mapping[str, Tensor]) -> Iterator[Bytes]:
    """The bytes of a file of these tensors, which may lie on any device."""
    header: dict[str, object] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    yield len(encoded).to_bytes(8, "little") + encoded
    for tensor in tensors.values():
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
