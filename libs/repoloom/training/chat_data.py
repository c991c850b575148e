"""Conversations as training sequences: several in one, each for itself, and only responses are learned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from repoloom.prompts import chat, special_tokens
from repoloom.prompts.special_tokens import PAD
from repoloom.stages.pack.best_fit import best_fit
from repoloom.stages.tokenize.encoder import Encoder, Ids
from repoloom.training.data import Batch, collate
from repoloom.training.loss import IGNORE


class Encoded(NamedTuple):
    """A conversation in tokens."""

    ids: Ids  # (tokens,)
    learned: NDArray[np.bool_]  # (tokens,): whether the model is to write it


def encode(messages: Sequence[chat.Message], system: str, encoder: Encoder) -> Encoded:
    """The tokens of a conversation, as `apply_chat_template` of the exported model finds them."""
    parts = [
        (special_tokens.encode([segment], lambda text: encoder.encode(text).tolist(), encoder.special), learned)
        for segment, learned in chat.render(messages, system)
    ]
    ids = np.array([token for tokens, _ in parts for token in tokens], "<u2")
    return Encoded(ids, np.repeat([learned for _, learned in parts], [len(tokens) for tokens, _ in parts]))


@dataclass(frozen=True)
class PackedConversations:
    """Sequences in memory, (sequences, sequence_length) each."""

    tokens: NDArray[np.uint16]
    segments: NDArray[np.uint16]  # conversations are numbered from 1 within the sequence, 0 is padding
    learned: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, numbers: Iterable[int]) -> Batch:
        """Some of the sequences side by side; what is not learned is no target."""
        chosen = list(numbers)
        batch = collate((self.tokens[number], self.segments[number]) for number in chosen)
        follows = torch.from_numpy(np.roll(self.learned[chosen], -1, axis=1))  # the last has no target either way
        return replace(batch, targets=torch.where(follows, batch.targets, IGNORE))


def pack(conversations: Sequence[Encoded], sequence_length: int, encoder: Encoder) -> PackedConversations:
    """Lays conversations, each of at most `sequence_length` tokens, into sequences."""
    sequences = best_fit(np.array([len(one.ids) for one in conversations], np.int64), sequence_length)
    shape = len(sequences), sequence_length
    packed = PackedConversations(
        np.full(shape, encoder.special[PAD], np.uint16), np.zeros(shape, np.uint16), np.zeros(shape, np.bool_)
    )
    for row, members in enumerate(sequences):
        start = 0
        for segment, member in enumerate(members, 1):
            ids, learned = conversations[member]
            end = start + len(ids)
            packed.tokens[row, start:end] = ids
            packed.segments[row, start:end] = segment
            packed.learned[row, start:end] = learned
            start = end
    return packed
