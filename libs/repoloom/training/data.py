"""Packed token sequences on disk, and batches of them as the model and the loss take them."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repoloom.errors import CorruptDataError, InputError
from repoloom.training.loss import IGNORE

Sequence16 = NDArray[np.uint16]


class Sequences(Protocol):
    """What a training reads."""

    def __len__(self) -> int: ...

    def batch(self, numbers: Iterable[int]) -> "Batch":
        """Some of the sequences side by side."""
        ...


class PackedDataset:
    """Fixed-length sequences in memory-mapped shards: a token shard and an index of the same shape for each.

    Both are little-endian uint16, `sequence_length` values a sequence. The index holds each token's segment: documents
    are numbered from 1 within the sequence, 0 is padding.
    """

    def __init__(self, shards: Sequence[Path], indexes: Sequence[Path], sequence_length: int) -> None:
        if len(shards) != len(indexes):
            raise InputError(f"{len(shards)} token shards do not pair with {len(indexes)} indexes")
        self.sequence_length = sequence_length
        self._shards = [_sequences(path, sequence_length) for path in shards]
        self._indexes = [_sequences(path, sequence_length) for path in indexes]
        for path, shard, index in zip(shards, self._shards, self._indexes, strict=True):
            if shard.shape != index.shape:
                raise CorruptDataError(f"{path}: {len(shard)} sequences, but its index has {len(index)}")
        self._ends = list(accumulate(map(len, self._shards)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def sample(self, number: int) -> tuple[Sequence16, Sequence16]:
        """The tokens and the segments of one sequence."""
        shard = bisect_right(self._ends, number)
        row = number - (self._ends[shard - 1] if shard else 0)
        return self._shards[shard][row], self._indexes[shard][row]

    def batch(self, numbers: Iterable[int]) -> "Batch":
        return collate(map(self.sample, numbers))


def _sequences(path: Path, sequence_length: int) -> Sequence16:
    """The file as (sequences, sequence_length)."""
    size = path.stat().st_size
    if size % (2 * sequence_length):
        raise CorruptDataError(f"{path}: {size} bytes are not whole sequences of {sequence_length} uint16 values")
    if not size:
        return np.empty((0, sequence_length), np.uint16)
    return np.memmap(path, np.dtype("<u2"), "r").reshape(-1, sequence_length)


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, (batch, sequence) each."""

    tokens: Tensor
    segments: Tensor
    positions: Tensor  # from 0 in every segment
    targets: (
        Tensor  # the next token of the same segment; IGNORE at its end, in padding, and where none is to be learned
    )

    def counts(self) -> Tensor:
        """How many targets there are, and how many pairs of a token and one that it sees, itself too: (2)."""
        return torch.stack(((self.targets != IGNORE).sum(), (self.positions + 1).sum()))

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


def collate(samples: Iterable[tuple[Sequence16, Sequence16]]) -> Batch:
    """Stacks sequences, and finds positions and targets from their segments."""
    tokens, segments = (np.stack(column).astype(np.int64) for column in zip(*samples, strict=True))
    continues = segments[:, 1:] == segments[:, :-1]
    places = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    starts = np.where(continues, 0, places[:, 1:])
    positions = places.copy()
    positions[:, 1:] -= np.maximum.accumulate(starts, axis=1)
    targets = np.full_like(tokens, IGNORE)
    targets[:, :-1] = np.where(continues & (segments[:, :-1] > 0), tokens[:, 1:], IGNORE)
    return Batch(*map(torch.from_numpy, (tokens, segments, positions, targets)))
