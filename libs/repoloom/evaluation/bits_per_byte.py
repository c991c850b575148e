"""Bits per byte: how well a model predicts held-out files, whatever its tokenizer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from repoloom.evaluation.held_out import HeldOutFile
from repoloom.inference.text import TextCodec
from repoloom.prompts import fim
from repoloom.training.attention import packed_mask
from repoloom.training.loss import IGNORE, token_nats
from repoloom.training.model import Llama

BATCH_TOKENS = 1 << 13


@dataclass(frozen=True, slots=True)
class Surprise:
    """What a model's prediction of one file cost."""

    file: HeldOutFile
    nats: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a file's tokens, of which those from `scored` on are predicted here."""

    file: int
    tokens: Sequence[int]
    scored: int


def surprises(model: Llama, codec: TextCodec, files: Iterable[HeldOutFile]) -> Iterator[Surprise]:
    """Scores the content of each file under its header.

    Every token is predicted once, from at least half a window of what precedes it, where the file has as much.
    """
    length = model.architecture.max_position_embeddings
    together = max(1, BATCH_TOKENS // length)
    remaining = iter(files)
    while group := list(islice(remaining, together)):
        windows = [window for number, file in enumerate(group) for window in _windows(number, file, codec, length)]
        nats = [0.0] * len(group)
        for start in range(0, len(windows), together):
            batch = windows[start : start + together]
            for window, cost in zip(batch, _nats(model, batch), strict=True):
                nats[window.file] += cost
        for file, cost in zip(group, nats, strict=True):
            yield Surprise(file, cost, len(file.content.encode()))


def _windows(number: int, file: HeldOutFile, codec: TextCodec, length: int) -> Iterator[Window]:
    text = file.header + file.content
    tokens = codec.encode(fim.without_hole(text, ends=False))
    first = 1 + sum(start < len(file.header) for start in codec.starts(text))  # after BOS and the header
    while first < len(tokens):
        start = max(0, first - (length + 1) // 2) if first > length else 0
        end = min(len(tokens), start + length + 1)  # the last token is only predicted
        yield Window(number, tokens[start:end], first - start)
        first = end


@torch.inference_mode()
def _nats(model: Llama, windows: Sequence[Window]) -> list[float]:
    longest = max(len(window.tokens) for window in windows) - 1
    shape = (len(windows), longest)
    tokens, segments = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    targets = torch.full(shape, IGNORE)
    for row, window in enumerate(windows):
        read = len(window.tokens) - 1
        tokens[row, :read] = torch.tensor(window.tokens[:-1])
        segments[row, :read] = 1
        targets[row, window.scored - 1 : read] = torch.tensor(window.tokens[window.scored :])
    device = model.output_weight.device
    tokens, segments, targets = tokens.to(device), segments.to(device), targets.to(device)
    hidden = model(tokens, torch.arange(longest, device=device).expand(shape), packed_mask(segments))
    scored = targets != IGNORE
    costs = torch.zeros(shape, device=device, dtype=torch.float64)
    costs[scored] = token_nats(hidden[scored], model.output_weight, targets[scored]).double()
    sums: list[float] = costs.sum(dim=1).tolist()
    return sums
