"""The keys and values of many sequences side by side, each in a slot of its own.

Every decoding step runs all slots, used or not, over a whole number of blocks of keys. So the shape of no computation
depends on how many sequences run, nor any value of one on what the others hold: a sequence is answered to the bit as it
is alone, where the kernels of the device sum a row as they do in any other row of the same shape (measured on CPU).
"""

from collections.abc import Callable

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
        capacity = _rounded(context + 1)
        self._nowhere = capacity - 1  # takes what is written for no sequence
        shape = (count, architecture.num_key_value_heads, capacity, architecture.head_dim)
        # Zeros, since a masked value counts 0 times what it is, and there are values of which that is not 0.
        self._layers = [(weight.new_zeros(shape), weight.new_zeros(shape)) for _ in model.model.layers]
        self._places = torch.arange(capacity, device=weight.device)
        # By what is done, with how many tokens, over how many keys.
        self._graphs: dict[tuple[str, int, int], _Graph] = {}

    @property
    def bytes(self) -> int:
        """What the cache takes."""
        return sum(tensor.nbytes for layer in self._layers for tensor in layer)

    def read(self, slot: int, tokens: list[int], start: int) -> Tensor:
        """Reads tokens of a prompt behind the `start` that the slot holds; the hidden state (hidden) of the last."""
        length, view = len(tokens), start + len(tokens)
        if self._places.is_cuda:
            length, view = _rounded(length), _rounded(view)  # few shapes, so few graphs
        padding = length - len(tokens)
        places = list(range(start, start + len(tokens)))
        fed = [
            tokens + [0] * padding,
            places + [0] * padding,
            places + [self._nowhere] * padding,
            [slot] * length,
        ]
        return self._run(self._read, fed, view)[len(tokens) - 1]

    def decode(self, tokens: dict[int, int], lengths: dict[int, int]) -> Tensor:
        """Reads one token behind the `lengths` that each running slot holds; hidden states (count, hidden) by slot."""
        slots = range(self.count)
        fed = [
            [tokens.get(slot, 0) for slot in slots],
            [lengths.get(slot, 0) for slot in slots],
            [lengths[slot] if slot in tokens else self._nowhere for slot in slots],
            list(slots),
        ]
        return self._run(self._decode, fed, _rounded(max(lengths.values()) + 1))

    def clear(self, slot: int, length: int) -> None:
        """Forgets what a slot holds: nothing of one text is left for the next."""
        for layer in self._layers:
            for tensor in layer:
                tensor[slot, :, :length].zero_()

    def _run(self, step: Callable[[Tensor, int], Tensor], values: list[list[int]], view: int) -> Tensor:
        fed = torch.tensor(values, device=self._places.device)
        if not fed.is_cuda:
            return step(fed, view)
        shape = (step.__name__, fed.shape[1], view)
        if shape not in self._graphs:
            self._graphs[shape] = _Graph(lambda fed: step(fed, view), fed, next(iter(self._graphs.values()), None))
        return self._graphs[shape](fed)

    def _read(self, fed: Tensor, view: int) -> Tensor:
        """Hidden states (tokens, hidden) of a slot's tokens, given (4, tokens): they, their positions, places, slot."""
        tokens, positions, written, slots = fed
        mask = (self._places[:view] <= positions[:, None])[None, None]
        caches: list[LayerCache] = [_Reading(keys, values, written, slots, view) for keys, values in self._layers]
        hidden: Tensor = self._model(tokens[None], positions[None], mask, caches)
        return hidden[0]

    def _decode(self, fed: Tensor, view: int) -> Tensor:
        """Hidden states (count, hidden) of a token of each slot, given the same."""
        tokens, positions, written, slots = fed
        mask = (self._places[:view] <= positions[:, None])[:, None, None]
        caches: list[LayerCache] = [_Decoding(keys, values, written, slots, view) for keys, values in self._layers]
        hidden: Tensor = self._model(tokens[:, None], positions[:, None], mask, caches)
        return hidden[:, 0]


class _Graph:
    """A computation on a GPU, launched as a whole: its hundreds of kernels take less time than asking for each does."""

    def __init__(self, compute: Callable[[Tensor], Tensor], example: Tensor, other: "_Graph | None") -> None:
        """Has its memory in common with the other, for one runs at a time.

        `compute` is done once before, for what it sets up; what it writes it may write again.
        """
        self._input = example.clone()
        compute(self._input)
        self._graph = torch.cuda.CUDAGraph()
        pool = None if other is None else other._graph.pool()
        with torch.cuda.graph(self._graph, pool, capture_error_mode="thread_local"):
            self._output = compute(self._input)

    def __call__(self, given: Tensor) -> Tensor:
        self._input.copy_(given)
        self._graph.replay()
        return self._output.clone()  # since the next graph writes over it


class _Written(LayerCache):
    """A layer whose slots are given tokens, each at its place; `view` places are read."""

    def __init__(self, keys: Tensor, values: Tensor, written: Tensor, slots: Tensor, view: int) -> None:
        self._held = keys, values
        self._written, self._slots, self._view = written, slots, view


class _Reading(_Written):
    """All tokens are one slot's."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        for held, new in zip(self._held, (keys, values), strict=True):
            held[self._slots, :, self._written] = new[0].transpose(0, 1)
        slot = self._slots[:1]
        return self._held[0][slot, :, : self._view], self._held[1][slot, :, : self._view]


class _Decoding(_Written):
    """Each slot is given one token."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        for held, new in zip(self._held, (keys, values), strict=True):
            held[self._slots, :, self._written] = new[:, :, 0]
        return self._held[0][:, :, : self._view], self._held[1][:, :, : self._view]


def _rounded(length: int) -> int:
    return -(-length // KEY_BLOCK) * KEY_BLOCK
