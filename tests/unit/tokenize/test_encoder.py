import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from repoloom.errors import InputError
from repoloom.prompts import special_tokens
from repoloom.stages.tokenize import encoder as module
from repoloom.stages.tokenize.encoder import Encoder
from repoloom.stages.tokenize.pretokenizer import ASCII_PIECES, pre_tokenizer

ASCII = st.text(st.characters(codec="ascii"), max_size=60)
BLANKS = list(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00\x7f")
AWKWARD = [
    *BLANKS,
    *"aZé09٣½.,_$+`^~<>|",
    *"\x85\xa0\u2028\u2029\u3000\ufeff\u200b",
    *"中文日本か한ㄱ",
    *("🧵", "👩\u200d🚀", "e\u0301", "\u0301", "क्", "“”…—"),
    *special_tokens.ALL,
    "def f(x):",
    "    ",
    "\r\n",
]
TEXTS = st.lists(st.sampled_from(AWKWARD), max_size=30).map("".join) | st.text(
    st.characters(codec="utf-8"), max_size=40
)


def _expected(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


@given(TEXTS | ASCII)
@example("")
@example("".join(special_tokens.ALL))
@example("x" * 1000 + " " * 1000 + "\n" * 10)
def test_ids_are_those_of_hugging_face(encoder: Encoder, hugging_face: Tokenizer, text: str) -> None:
    ids = encoder.encode(text)
    assert ids.dtype == np.uint16
    assert ids.tolist() == _expected(hugging_face, text)


def test_ids_of_real_files_are_those_of_hugging_face(
    encoder: Encoder, hugging_face: Tokenizer, sources: list[str]
) -> None:
    for text in (*sources, *sources):  # once forgotten, once remembered
        assert encoder.encode(text).tolist() == _expected(hugging_face, text)


@given(TEXTS)
def test_decoding_gives_back_the_text(encoder: Encoder, hugging_face: Tokenizer, text: str) -> None:
    assert hugging_face.decode(encoder.encode(text).tolist(), skip_special_tokens=False) == text


@given(TEXTS)
def test_text_that_spells_a_special_token_never_becomes_one(encoder: Encoder, text: str) -> None:
    assert set(encoder.special.values()).isdisjoint(encoder.encode(text).tolist())


@given(TEXTS)
def test_a_line_break_is_a_token_of_its_own(encoder: Encoder, text: str) -> None:
    assert encoder.encode(text).tolist().count(encoder.line_break) == text.count("\n")


@given(ASCII)
def test_ascii_text_is_cut_as_by_the_pre_tokenizer_that_is_saved(text: str) -> None:
    pieces = ASCII_PIECES.findall(text)
    assert "".join(pieces) == text
    assert pieces == [text[start:end] for _, (start, end) in pre_tokenizer().pre_tokenize_str(text)]


def test_what_is_remembered_is_bounded(
    tokenizer_json: bytes, hugging_face: Tokenizer, sources: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 50)
    encoder = Encoder(tokenizer_json)
    for line in sources[0].splitlines(keepends=True):
        assert encoder.encode(line).tolist() == _expected(hugging_face, line)
        assert len(encoder._pieces) <= 50


@given(TEXTS)
def test_a_long_text_is_encoded_block_by_block_to_the_same_ids(
    tokenizer_json: bytes, hugging_face: Tokenizer, text: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 3)
        assert Encoder(tokenizer_json).encode(text).tolist() == _expected(hugging_face, text)


def test_a_long_text_is_encoded_in_memory_that_grows_with_its_ids_alone(encoder: Encoder) -> None:
    text = "a = 1\n" * 1_000_000
    tracemalloc.start()
    try:
        encoder.encode(text)
        assert tracemalloc.get_traced_memory()[1] < 12 * len(text)
    finally:
        tracemalloc.stop()


def test_special_tokens_have_the_ids_after_the_last_merge(encoder: Encoder, hugging_face: Tokenizer) -> None:
    first = hugging_face.get_vocab_size() - len(special_tokens.ALL)
    assert list(encoder.special.values()) == list(range(first, first + len(special_tokens.ALL)))


def test_a_tokenizer_without_the_special_tokens_is_refused() -> None:
    from tokenizers import models

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    with pytest.raises(InputError, match="the tokenizer has no token"):
        Encoder(tokenizer.to_str().encode())
