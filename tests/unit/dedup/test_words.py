import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from repoloom.corpus.words import BLOCK, Hashes, Text, as_text, hash_word, mix, next_word, read_words

WORD = re.compile(rb"[\xe3-\xe9][A-Za-z0-9_\x80-\xe2\xea-\xff]*|[A-Za-z0-9_\x80-\xe2\xea-\xff]+")
ALL = (1 << 64) - 1

texts = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="ab _1-\n\0é中の", max_size=200).map(str.encode),
    st.lists(st.sampled_from([b"a", b"longer_than_eight", b" ", b"\xe4\xb8\xad", b"\0", b"x" * 300]), max_size=60).map(
        b"".join
    ),
)


@njit
def _read_all(text: Text, position: int, end: int, starts: Hashes, stops: Hashes, hashes: Hashes) -> int:
    block_starts, block_stops = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK + 1, np.int64)
    total = 0
    while position < end:
        found, position = read_words(text, position, end, block_starts, block_stops)
        for i in range(found):
            starts[total], stops[total] = block_starts[i], block_stops[i]
            hashes[total] = hash_word(text, block_starts[i], block_stops[i])
            total += 1
    return total


def words_of(content: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    room = [np.empty(len(content) + 1, kind) for kind in (np.int64, np.int64, np.uint64)]
    total = _read_all(as_text(content), start, end, *room)
    return list(zip(*(column[:total].tolist() for column in room), strict=True))


def mix_twin(value: int) -> int:
    value = (value ^ (value >> 33)) * 0xFF51AFD7ED558CCD & ALL
    value = (value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53 & ALL
    return value ^ (value >> 33)


def hash_twin(word: bytes) -> int:
    value = 0
    for start in range(0, len(word), 8):
        value = mix_twin(value ^ int.from_bytes(word[start : start + 8], "little"))
    return value


@settings(deadline=None)  # the first call compiles
@given(texts, st.integers(0, 50), st.integers(0, 50))
def test_the_words_of_any_stretch_of_any_bytes_are_those_of_the_plain_definition(
    content: bytes, skip: int, cut: int
) -> None:
    start, end = min(skip, len(content)), max(min(skip, len(content)), len(content) - cut)
    expected = [(*match.span(), hash_twin(match[0])) for match in WORD.finditer(content[:end], start)]
    assert words_of(content, start, end) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"a " * BLOCK,
        b"w" * (BLOCK - 1) + b" " + b"v" * (3 * BLOCK),
        b"w" * BLOCK + b" v",
        b"".join(b"%d," % number for number in range(3000)),
        b"\xe4\xb8\xad" * BLOCK,
    ],
    ids=["short words", "long words", "a word that fills a block", "numbers", "ideographs"],
)
def test_the_edges_of_blocks_cut_no_word(content: bytes) -> None:
    found = [(start, stop) for start, stop, _ in words_of(content, 0, len(content))]
    assert found == [match.span() for match in WORD.finditer(content)]


@settings(deadline=None)
@given(texts)
def test_one_word_at_a_time_is_the_same_words(content: bytes) -> None:
    text, found, position = as_text(content), [], 0
    while (word := next_word(text, position, len(content)))[0] < word[1]:
        found.append(word)
        position = word[1]
    assert found == [match.span() for match in WORD.finditer(content)]


def test_a_word_of_a_hundred_megabytes_is_one_word() -> None:
    content = b"x" * 100_000_000
    text = as_text(content)
    assert next_word(text, 0, len(content)) == (0, len(content))
    starts, stops = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK + 1, np.int64)
    assert read_words(text, 0, len(content), starts, stops) == (1, len(content))
    assert (starts[0], stops[0]) == (0, len(content))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(x_1): return x", ["def", "f", "x_1", "return", "x"]),
        ("naïve Größe", ["naïve", "Größe"]),
        ("使用Python的", ["使", "用Python", "的"]),
        ("a\0b", ["a", "b"]),
        ("", []),
    ],
)
def test_words_by_example(text: str, words: list[str]) -> None:
    content = text.encode()
    assert [content[start:stop].decode() for start, stop, _ in words_of(content, 0, len(content))] == words


@settings(deadline=None)
@given(st.integers(0, ALL))
def test_mix_is_its_twin(value: int) -> None:
    assert int(mix(np.uint64(value))) == mix_twin(value)
