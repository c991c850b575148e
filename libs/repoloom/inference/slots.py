"""The keys and values of many sequences side by side, each in a slot of its own.

Every decoding step runs all slots, used or not, over a whole number of blocks of keys. So the shape of no computation
depends on how many sequences run, nor any value of one on what the others hold: a sequence is answered to the bit as it
is alone, where the kernels of the device sum a row as they do in any other row of the same shape (measured on CPU).
"""

import torch
from torch import Tensor

from repoloom.training.model import LayerCache, Llama

KEY_BLOCK = 512
"""Keys are read in multiples of this: torch's attention on CPU goes block by block of so many (2.13)."""


class Slots:
    """A cache for `count` sequences of up to `context` tokens each; all its memory is asked for when it is made."""

    def __init__(self, model: Llama, count: int, context: int) -> None:
        self._model = model
        self.count = count
        self.context = context
        architecture, weight = model.architecture, model.output_weight
        self._capacity = _rounded(context + 1)  # the last place takes what slots without a sequence write
        shape = (count, architecture.num_key_value_heads, self._capacity, architecture.head_dim)
        # Zeros, since a masked value counts 0 times what it is, and there are values of which that is not 0.
        self._layers = [(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in model.model.layers]
        self._places = torch.arange(self._capacity, device=weight.device)

    @property
    def bytes(self) -> int:
        """What the cache takes."""
        return sum(tensor.nbytes for layer in self._layers for tensor in layer)

    def read(self, slot: int, tokens: list[int], start: int) -> Tensor:
        """Reads tokens of a prompt behind the `start` that the slot holds; the hidden state (hidden) of the last."""
        end = start + len(tokens)
        places = self._places[start:end]
        mask = (self._places[:end] <= places[:, None])[None, None]
        caches: list[LayerCache] = [_Reading(keys, values, slot, start, end) for keys, values in self._layers]
        hidden: Tensor = self._model(self._tensor([tokens]), places[None], mask, caches)
        return hidden[0, -1]

    def decode(self, tokens: dict[int, int], lengths: dict[int, int]) -> Tensor:
        """Reads one token behind the `lengths` that each running slot holds; hidden states (count, hidden) by slot."""
        view = _rounded(max(lengths.values()) + 1)
        running = [slot in tokens for slot in range(self.count)]
        fed = self._tensor([[tokens.get(slot, 0)] for slot in range(self.count)])
        positions = self._tensor([lengths.get(slot, 0) for slot in range(self.count)])
        written = torch.where(self._tensor(running), positions, self._capacity - 1)
        mask = (self._places[:view] <= positions[:, None])[:, None, None]
        caches: list[LayerCache] = [_Decoding(keys, values, written, view) for keys, values in self._layers]
        hidden: Tensor = self._model(fed, positions[:, None], mask, caches)
        return hidden[:, 0]

    def clear(self, slot: int, length: int) -> None:
        """Forgets what a slot holds: nothing of one text is left for the next."""
        for layer in self._layers:
            for tensor in layer:
                tensor[slot, :, :length].zero_()

    def _tensor(self, values: list[list[int]] | list[int] | list[bool]) -> Tensor:
        return torch.tensor(values, device=self._places.device)


class _Reading(LayerCache):
    """One slot's share of a layer while its prompt is read."""

    def __init__(self, keys: Tensor, values: Tensor, slot: int, start: int, end: int) -> None:
        self._held = keys[slot : slot + 1, :, :end], values[slot : slot + 1, :, :end]
        self._start = start

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        for held, new in zip(self._held, (keys, values), strict=True):
            held[:, :, self._start :] = new
        return self._held


class _Decoding(LayerCache):
    """All slots' share of a layer while each is given one token."""

    def __init__(self, keys: Tensor, values: Tensor, written: Tensor, view: int) -> None:
        self._held = keys, values
        self._written, self._view = written, view

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(self._written), device=self._written.device)
        for held, new in zip(self._held, (keys, values), strict=True):
            held[rows, :, self._written] = new[:, :, 0]
        return self._held[0][:, :, : self._view], self._held[1][:, :, : self._view]


def _rounded(length: int) -> int:
    return -(-length // KEY_BLOCK) * KEY_BLOCK
