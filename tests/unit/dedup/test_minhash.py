import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.corpus.words import as_text
from repoloom.stages.dedup.minhash import SHINGLE_WORDS, RepositorySketch

ALL = (1 << 64) - 1
BASE = 0x9E3779B97F4A7C15
SLOTS, SIZE = 16, 64

file_contents = st.lists(st.sampled_from(["a", "b", "if", "return", "a_longer_word"]), max_size=80).map(
    lambda words: " ".join(words).encode()
)


def mix(value: int) -> int:
    value = (value ^ (value >> 33)) * 0xFF51AFD7ED558CCD & ALL
    value = (value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53 & ALL
    return value ^ (value >> 33)


def word_hash(word: bytes) -> int:
    value = 0
    for start in range(0, len(word), 8):
        value = mix(value ^ int.from_bytes(word[start : start + 8], "little"))
    return value


def shingle_hashes(files: list[bytes]) -> set[int]:
    hashes = set()
    for content in files:
        words = [word_hash(word) for word in content.split()]
        for start in range(max(1, len(words) - SHINGLE_WORDS + 1) if words else 0):
            gram = 0
            for word in words[start : start + SHINGLE_WORDS]:
                gram = (gram * BASE + word) & ALL
            hashes.add(mix(gram ^ 0x7265706F6C6F6F6D))
    return hashes


def buckets_twin(hashes: set[int], bands: int, rows: int) -> list[int]:
    smallest: dict[int, int] = {}
    for value in hashes:
        slot = (value >> 32) * SLOTS >> 32
        smallest[slot] = min(value, smallest.get(slot, ALL))
    dense = []
    for slot in range(SLOTS):
        source = attempt = slot
        while source not in smallest:
            attempt = mix((attempt + BASE) & ALL)
            source = (attempt >> 32) * SLOTS >> 32
        dense.append(smallest[source])
    buckets = []
    for band in range(bands):
        value = band
        for row in dense[band * rows : (band + 1) * rows]:
            value = mix((value * BASE + row) & ALL)
        buckets.append(value)
    return buckets


def sketch_of(files: list[bytes], size: int = SIZE) -> RepositorySketch:
    sketch = RepositorySketch(SLOTS, size)
    ends = np.cumsum([len(content) + 1 for content in files], dtype=np.int64)
    sketch.add(as_text(b"\n".join([*files, b""])), ends - [len(content) + 1 for content in files], ends - 1)
    return sketch


@settings(deadline=None)  # the first call compiles
@given(st.lists(file_contents, min_size=1, max_size=5))
def test_sketch_and_buckets_are_those_of_plain_python(files: list[bytes]) -> None:
    hashes, sketch = shingle_hashes(files), sketch_of(files)
    expected = sorted((value << 32 | value >> 32) & ALL for value in hashes)
    assert sketch.smallest().tolist() == expected[:SIZE]
    assert sketch.words == sum(len(content.split()) for content in files)
    if hashes:
        assert sketch.buckets(3, 5).tolist() == buckets_twin(hashes, 3, 5)
    if len(hashes) < SIZE:
        assert sketch.distinct == len(hashes)


@settings(deadline=None)
@given(st.lists(file_contents, min_size=1, max_size=5), st.randoms())
def test_neither_the_order_of_the_files_nor_how_they_are_handed_over_counts(
    files: list[bytes], shuffle: random.Random
) -> None:
    at_once = sketch_of(files)
    shuffled = files.copy()
    shuffle.shuffle(shuffled)
    one_by_one = RepositorySketch(SLOTS, SIZE)
    for content in shuffled:
        one_by_one.add(as_text(content), np.zeros(1, np.int64), np.array([len(content)]))
    assert one_by_one.smallest().tolist() == at_once.smallest().tolist()
    assert one_by_one.words == at_once.words
    if at_once.words:
        assert one_by_one.buckets(4, 4).tolist() == at_once.buckets(4, 4).tolist()


def test_the_sketch_keeps_the_smallest_of_many() -> None:
    files = [" ".join(str(number) for number in range(20_000)).encode()]
    sketch = sketch_of(files)
    expected = sorted((value << 32 | value >> 32) & ALL for value in shingle_hashes(files))
    assert sketch.smallest().tolist() == expected[:SIZE]
    assert sketch.distinct == pytest.approx(len(expected), rel=4 / SIZE**0.5)


def test_layout_and_punctuation_do_not_count() -> None:
    one, other = sketch_of([b"def f(a, b): return a + b"]), sketch_of([b"def f(a,b):\r\n\treturn (a+b);"])
    assert one.smallest().tolist() == other.smallest().tolist()


def test_a_file_of_few_words_is_one_shingle_and_a_file_of_none_has_none() -> None:
    assert sketch_of([b"a b c"]).distinct == 1
    assert sketch_of([b"a b c d e"]).distinct == 1
    assert sketch_of([b"a b c d e f"]).distinct == 2
    assert sketch_of([b"", b"+-*/", b"\0"]).distinct == 0


def test_files_with_the_same_words_have_the_same_digest_and_others_do_not() -> None:
    contents = [b"a b c", b"a, b; c", b"c b a", b"", b"a b c d e f g", b"b c d e f g"]
    nothing_before = np.zeros(1, np.int64)
    digests = [
        int(RepositorySketch(SLOTS, SIZE).add(as_text(content), nothing_before, np.array([len(content)]))[0])
        for content in contents
    ]
    assert digests[0] == digests[1]
    assert digests[3] == 0
    assert all(one != other for one, other in itertools.combinations(digests[1:], 2))


def test_a_repository_without_words_falls_into_no_bucket() -> None:
    with pytest.raises(ValueError, match="without words"):
        sketch_of([b"..."]).buckets(3, 5)
