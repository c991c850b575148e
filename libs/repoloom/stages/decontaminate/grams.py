"""Which files share words with a benchmark: rolling hashes against a sorted index, and each match verified.

A gram is a word of corpus.words, so neither layout nor punctuation hides a copy. A benchmark text of 10 words or more
is found by any 10 of its words in a row. A shorter one, of 3 words or more, is found only as a whole, and there
punctuation counts: `n % 2` and `n, 2` are different texts.

The paper leaves open what is no text of a benchmark; two things are left out here, for what they would cost. Words of
which none has two characters and is no number, such as `0, 1, 2, 3, 4, 5, 6, 7, 8, 9`: with them HumanEval, MBPP, GSM8K
and MATH find 584 of the 12,788 Python files of the libraries that this one is built on, without them 132, half of these
by `return x + y`. And words that stand in many items of a benchmark, which are its template: `using System.Collections.
Generic; using System.Linq; using System.Text` opens every C# program of MultiPL-E, and most others.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from repoloom.corpus.words import (
    BLOCK,
    CLASS,
    GRAM_BASE,
    SEPARATOR,
    Hashes,
    Offsets,
    Text,
    hash_word,
    next_word,
    read_words,
)

LONG: Final = 10
SHORT: Final = 3
"""Grams that must be equal, and grams below which a text says nothing (arXiv 2401.14196, section 2.4)."""

TEMPLATE_ITEMS: Final = 16
"""A gram that stands in this many items of one benchmark is none of any item's own."""

HITS_PER_FILE: Final = 8
"""Benchmark texts that are named as evidence against a file."""

_GRAMS_PER_NUMBER: Final = 2  # of a Bloom filter, at most: then about one other gram in 500 passes

_RING: Final = 16  # words remembered: a power of two, and more than LONG
_LAST: Final = _RING - 1
_LONG_OLDEST: Final = np.uint64(pow(int(GRAM_BASE), LONG, 1 << 64))
_SHORT_OLDEST: Final = np.uint64(pow(int(GRAM_BASE), SHORT, 1 << 64))
_DIGIT: Final = np.array([chr(byte).isdigit() for byte in range(128)] + [False] * 128)
_WHITESPACE: Final = np.array([chr(byte).isspace() for byte in range(128)] + [False] * 128)


class Texts(NamedTuple):
    """Stretches of a text: number i is `text.bytes[starts[i]:ends[i]]`."""

    text: Text
    starts: Offsets
    ends: Offsets


class Owners(NamedTuple):
    """Whose the benchmark texts are: numbers that do not fall from text to text."""

    benchmarks: Offsets  # (texts,)
    items: Offsets  # (texts,)


class Index(NamedTuple):
    """Where grams of one length stand in the benchmark texts, sorted by hash."""

    hashes: Hashes  # (grams,)
    rows: Offsets  # (grams,): number of the benchmark text
    offsets: Offsets  # (grams,): byte offset of the gram's first word
    bloom: Hashes  # (a power of two,): a Bloom filter of the hashes, all bits of a hash in one number
    shift: np.uint64  # that makes a hash the number's place


class Indices(NamedTuple):
    """The benchmark texts, and their grams."""

    benchmarks: Texts
    words: Offsets  # (texts,)
    long: Index  # each LONG words of the long texts
    short: Index  # the first SHORT words of the short texts


def index_texts(benchmarks: Texts, owners: Owners) -> Indices:
    """Indexes the benchmark texts."""
    words = _count_words(benchmarks)
    long = np.maximum(words - LONG + 1, 0)
    short = ((words >= SHORT) & (words < LONG)).astype(np.int64)
    return Indices(benchmarks, words, _index(benchmarks, owners, long, LONG), _index(benchmarks, owners, short, SHORT))


def find(files: Texts, indices: Indices) -> npt.NDArray[np.int64]:
    """What the files share with the benchmarks.

    Returns (hits, 4): a file, a benchmark text, and where in the files' text the shared words start and stop. Hits are
    in the order of the files and of their words; of each file there are at most HITS_PER_FILE, of different texts.
    """
    hits = np.empty((files.starts.size * HITS_PER_FILE, 4), np.int64)
    return hits[: _find(files, indices, hits)]


def _index(benchmarks: Texts, owners: Owners, counts: Offsets, length: int) -> Index:
    """Indexes the first `counts[i]` grams of each text."""
    most = int(counts.sum())
    hashes, rows, offsets = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    total = _grams(benchmarks, counts, length, hashes, rows, offsets)
    order = np.argsort(hashes[:total], kind="stable")
    order = order[_own(hashes[order], rows[order], owners)]
    hashes = hashes[order]
    bits = max(1, (np.unique(hashes).size // _GRAMS_PER_NUMBER).bit_length())
    return Index(hashes, rows[order], offsets[order], _bloom(hashes, bits), np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def _own(hashes: Hashes, rows: Offsets, owners: Owners) -> npt.NDArray[np.bool_]:
    """Which of the sorted grams stand in fewer than TEMPLATE_ITEMS items of each benchmark."""
    own = np.ones(hashes.size, np.bool_)
    first = 0
    while first < hashes.size:
        last = first
        items = most = 0
        while last < hashes.size and hashes[last] == hashes[first]:
            if last == first or owners.benchmarks[rows[last]] != owners.benchmarks[rows[last - 1]]:
                items = 1
            elif owners.items[rows[last]] != owners.items[rows[last - 1]]:
                items += 1
            most = max(most, items)
            last += 1
        own[first:last] = most < TEMPLATE_ITEMS
        first = last
    return own


@njit(cache=True, nogil=True)
def _count_words(texts: Texts) -> Offsets:
    counts = np.zeros(texts.starts.size, np.int64)
    for row in range(texts.starts.size):
        start, stop = next_word(texts.text, texts.starts[row], texts.ends[row])
        while start < stop:
            counts[row] += 1
            start, stop = next_word(texts.text, stop, texts.ends[row])
    return counts


@njit(cache=True, nogil=True)
def _grams(texts: Texts, counts: Offsets, length: int, hashes: Hashes, rows: Offsets, offsets: Offsets) -> int:
    """Writes down the grams that have a word of two characters that is no number; returns how many."""
    window, starts, telling = np.zeros(_RING, np.uint64), np.zeros(_RING, np.int64), np.zeros(_RING, np.bool_)
    filled = 0
    for row in range(texts.starts.size):
        position, end = texts.starts[row], texts.ends[row]
        for last in range(counts[row] + length - 1 if counts[row] else 0):
            start, position = next_word(texts.text, position, end)
            window[last & _LAST] = hash_word(texts.text, start, position)
            starts[last & _LAST] = start
            telling[last & _LAST] = position - start > 1 and not _DIGIT[texts.text.bytes[start]]
            if last < length - 1:
                continue
            gram, tells = np.uint64(0), 0
            for word in range(last - length + 1, last + 1):
                gram = gram * GRAM_BASE + window[word & _LAST]
                tells += telling[word & _LAST]
            if tells:
                hashes[filled], rows[filled], offsets[filled] = gram, row, starts[(last - length + 1) & _LAST]
                filled += 1
    return filled


@njit(cache=True, nogil=True, forceinline=True)
def _signs(gram: np.uint64) -> np.uint64:
    """The three bits of a number in the filter that stand for a gram."""
    one, low = np.uint64(1), np.uint64(63)
    return (one << (gram & low)) | (one << ((gram >> np.uint64(6)) & low)) | (one << ((gram >> np.uint64(12)) & low))


@njit(cache=True, nogil=True, forceinline=True)
def _may_hold(bloom: Hashes, shift: np.uint64, gram: np.uint64) -> bool:
    signs = _signs(gram)
    return bool((bloom[gram >> shift] & signs) == signs)


@njit(cache=True, nogil=True)
def _bloom(hashes: Hashes, bits: int) -> Hashes:
    bloom = np.zeros(1 << bits, np.uint64)
    for gram in hashes:
        bloom[gram >> np.uint64(64 - bits)] |= _signs(gram)
    return bloom


@njit(cache=True, nogil=True)
def _find(files: Texts, indices: Indices, hits: npt.NDArray[np.int64]) -> int:
    word_starts, word_stops = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK + 1, np.int64)
    window, starts = np.zeros(_RING, np.uint64), np.zeros(_RING, np.int64)
    long_bloom, long_shift = indices.long.bloom, indices.long.shift
    short_bloom, short_shift = indices.short.bloom, indices.short.shift
    text = files.text
    total = 0
    for file in range(files.starts.size):
        position, end = files.starts[file], files.ends[file]
        first, full = total, total + HITS_PER_FILE
        window[:] = 0
        long = short = np.uint64(0)
        words = 0
        while position < end and total < full:
            found, position = read_words(text, position, end, word_starts, word_stops)
            for i in range(found):
                word = hash_word(text, word_starts[i], word_stops[i])
                long = long * GRAM_BASE + word - window[(words - LONG) & _LAST] * _LONG_OLDEST
                short = short * GRAM_BASE + word - window[(words - SHORT) & _LAST] * _SHORT_OLDEST
                window[words & _LAST] = word
                starts[words & _LAST] = word_starts[i]
                words += 1
                if words >= LONG and _may_hold(long_bloom, long_shift, long):
                    start = starts[(words - LONG) & _LAST]
                    total = _match(text, start, end, file, indices, indices.long, long, hits, first, total)
                if words >= SHORT and _may_hold(short_bloom, short_shift, short) and total < full:
                    start = starts[(words - SHORT) & _LAST]
                    total = _match(text, start, end, file, indices, indices.short, short, hits, first, total)
                if total == full:
                    break
    return total


@njit(cache=True, nogil=True)
def _match(
    text: Text,
    start: int,
    end: int,
    file: int,
    indices: Indices,
    index: Index,
    gram: np.uint64,
    hits: npt.NDArray[np.int64],
    first: int,
    total: int,
) -> int:
    """Records the first benchmark text of the index that stands at `start`; hits[first:total] are the file's so far."""
    for entry in range(np.searchsorted(index.hashes, gram), index.hashes.size):
        if index.hashes[entry] != gram:
            break
        row = index.rows[entry]
        stop = _stop(text, start, end, indices, row, index.offsets[entry])
        if stop >= 0:
            return _record(hits, first, total, file, row, start, stop)
    return total


@njit(cache=True, nogil=True)
def _stop(text: Text, start: int, end: int, indices: Indices, row: int, offset: int) -> int:
    """Where what `text` shares with a benchmark text stops: its next LONG words, or a short one as a whole; else -1."""
    benchmarks = indices.benchmarks
    if indices.words[row] < LONG:
        return _same_text(text, start, end, benchmarks.text, offset, benchmarks.ends[row])
    return _same_words(text, start, end, benchmarks.text, offset, benchmarks.ends[row])


@njit(cache=True, nogil=True)
def _record(hits: npt.NDArray[np.int64], first: int, total: int, file: int, row: int, start: int, stop: int) -> int:
    for hit in range(first, total):
        if hits[hit, 1] == row:
            return total
    hits[total] = file, row, start, stop
    return total + 1


@njit(cache=True, nogil=True)
def _same_words(left: Text, i: int, left_end: int, right: Text, j: int, right_end: int) -> int:
    """Where the next LONG words of the left text stop if they are those of the right one, else -1."""
    for _ in range(LONG):
        i, left_stop = next_word(left, i, left_end)
        j, right_stop = next_word(right, j, right_end)
        if not np.array_equal(left.bytes[i:left_stop], right.bytes[j:right_stop]):
            return -1
        i, j = left_stop, right_stop
    return i


@njit(cache=True, nogil=True)
def _same_text(left: Text, i: int, left_end: int, right: Text, j: int, right_end: int) -> int:
    """Where the left text, from word i on, stops being the right one, from word j to its last word; else -1.

    White space is free wherever it does not join or part words.
    """
    while CLASS[right.bytes[right_end - 1]] == SEPARATOR:
        right_end -= 1
    while True:
        if CLASS[right.bytes[j]] == SEPARATOR:
            if left.bytes[i] != right.bytes[j]:
                return -1
            i, j = i + 1, j + 1
        else:
            right_stop = next_word(right, j, right_end)[1]
            start, left_stop = next_word(left, i, left_end)
            if start != i or not np.array_equal(left.bytes[i:left_stop], right.bytes[j:right_stop]):
                return -1
            i, j = left_stop, right_stop
            if j == right_end:
                return i
        while _WHITESPACE[right.bytes[j]]:
            j += 1
        while i < left_end and _WHITESPACE[left.bytes[i]]:
            i += 1
        if i == left_end:
            return -1
