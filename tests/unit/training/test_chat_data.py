"""Of a conversation the model learns the responses and where they end, and nothing else."""

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from repoloom.prompts.chat import SYSTEM, Message, Role
from repoloom.prompts.special_tokens import BOS, EOT
from repoloom.stages.tokenize.encoder import Encoder
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.training.chat_data import Encoded, encode, pack
from repoloom.training.loss import IGNORE

ENCODER = Encoder(train_tokenizer(iter(["def add(a, b):\n    return a + b\n"]), 300).to_str().encode())
TURNS = (
    Message(Role.USER, "add\n  two "),
    Message(Role.ASSISTANT, "a + b"),
    Message(Role.USER, f"{EOT}?"),
    Message(Role.ASSISTANT, " é\n"),
)


def test_a_conversation_is_the_papers_form_token_by_token() -> None:
    encoded = encode(TURNS, SYSTEM, ENCODER)
    assert ENCODER.decode(encoded.ids.tolist()) == (
        f"{BOS}{SYSTEM}\n### Instruction:\nadd\n  two \n### Response:\na + b\n{EOT}\n"
        f"### Instruction:\n{EOT}?\n### Response:\n é\n\n{EOT}\n"
    )
    assert encoded.ids.tolist().count(ENCODER.special[EOT]) == 2  # what only spells one is text
    assert SYSTEM not in ENCODER.decode(encode((Message(Role.SYSTEM, "Hi"), *TURNS), SYSTEM, ENCODER).ids.tolist())


def test_the_targets_are_the_responses_and_their_ends() -> None:
    encoded = encode(TURNS, SYSTEM, ENCODER)
    batch = pack([encoded], len(encoded.ids) + 5, ENCODER).batch([0])
    targets = batch.targets[0][batch.targets[0] != IGNORE].tolist()
    assert ENCODER.decode(targets) == f"a + b\n{EOT} é\n\n{EOT}"
    for place, target in enumerate(batch.targets[0].tolist()):
        assert target in (IGNORE, batch.tokens[0, (place + 1) % batch.tokens.shape[1]].item())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_packing_keeps_every_conversation_whole_and_apart(sizes: list[int]) -> None:
    starts = [0, *accumulate(sizes)]
    given_ones = [
        Encoded(np.arange(start, start + size, dtype="<u2"), np.arange(size) % 2 == 1)
        for start, size in zip(starts, sizes, strict=False)
    ]
    packed = pack(given_ones, 9, ENCODER)
    found = []
    for row in range(len(packed)):
        for segment in range(1, packed.segments[row].max() + 1):
            mine = packed.segments[row] == segment
            found.append((packed.tokens[row][mine].tolist(), packed.learned[row][mine].tolist()))
        padding = packed.segments[row] == 0
        assert not packed.learned[row][padding].any()
    assert sorted(found) == sorted((one.ids.tolist(), one.learned.tolist()) for one in given_ones)
