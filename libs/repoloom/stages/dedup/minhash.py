"""One pass over a repository's words: a one-permutation MinHash to band by, and a bottom-k sketch to verify with.

A shingle is 5 consecutive words of a file; a file of fewer words is one shingle, a file of none has none. A repository
is the set of its files' shingles, so neither the order of its files nor their paths count.

The MinHash hashes each shingle once: the upper half of the hash names a slot, the slot keeps its smallest hash (one
permutation hashing, arXiv 1208.1259), and an empty slot borrows from one drawn at random (optimal densification, arXiv
1703.04664). The sketch is the k smallest hashes, ordered by the lower half first, so that the two err independently.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from repoloom.corpus.words import BLOCK, GRAM_BASE, Hashes, Offsets, Text, hash_word, mix, read_words

SHINGLE_WORDS: Final = 5
"""Words in a shingle, as in SantaCoder's and StarCoder's deduplication (arXiv 2301.03988, 2305.06161)."""

_EMPTY: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_HALF: Final = np.uint64(32)
_OLDEST: Final = np.uint64(pow(int(GRAM_BASE), SHINGLE_WORDS, 1 << 64))
_LAST: Final = 7  # words remembered: a power of two, less one, and no fewer than SHINGLE_WORDS
_SEED: Final = np.uint64(0x7265706F6C6F6F6D)


class RepositorySketch:
    """Takes in a repository's files, and holds its MinHash and its sketch: 8 * (slots + 2 * size) bytes."""

    def __init__(self, slots: int, size: int) -> None:
        self._slots = np.full(slots, _EMPTY, np.uint64)
        self._smallest = np.empty(2 * size, np.uint64)  # the sketch, then hashes that may yet belong to it
        self._limit = np.full(1, _EMPTY, np.uint64)  # hashes from here on are not in the sketch
        self._counts = np.zeros(2, np.int64)  # words; hashes held in `_smallest`

    @property
    def words(self) -> int:
        """Number of words so far."""
        return int(self._counts[0])

    def add(self, text: Text, starts: Offsets, ends: Offsets) -> Hashes:
        """Takes in the files `text[starts[i]:ends[i]]`; returns a hash of each one's words, 0 for a file without."""
        digests = np.zeros(starts.size, np.uint64)
        _add_files(text, starts, ends, self._slots, self._smallest, self._limit, self._counts, digests)
        return digests

    def smallest(self) -> Hashes:
        """The sketch: the smallest hashes, ascending and distinct. Fewer than its size are all that there are."""
        return self._smallest[: _compact(self._smallest, self._counts[1])].copy()

    @property
    def distinct(self) -> int:
        """Number of distinct shingles: exact below the sketch's size, from there on estimated from its largest hash."""
        sketch = self.smallest()
        size = self._smallest.size // 2
        return len(sketch) if len(sketch) < size else round((size - 1) * 2.0**64 / float(sketch[-1]))

    def buckets(self, bands: int, rows: int) -> Hashes:
        """The bucket of each band. Raises ValueError for a repository without words, which is like no other."""
        if not self._counts[1]:
            raise ValueError("a repository without words falls into no bucket")
        return _buckets(_densify(self._slots), bands, rows)


@njit(cache=True, nogil=True, forceinline=True)
def _insert(gram: np.uint64, slots: Hashes, smallest: Hashes, limit: Hashes, held: int) -> int:
    value = mix(gram ^ _SEED)
    slot = ((value >> _HALF) * np.uint64(slots.size)) >> _HALF
    slots[slot] = min(slots[slot], value)
    value = (value << _HALF) | (value >> _HALF)
    if value < limit[0]:
        smallest[held] = value
        held += 1
        if held == smallest.size:
            held = _compact(smallest, held)
            if held == smallest.size // 2:
                limit[0] = smallest[held - 1]
    return held


@njit(cache=True, nogil=True)
def _compact(smallest: Hashes, held: int) -> int:
    """Sorts the first `held`, drops what is there twice or beyond the sketch's size; returns how many are left."""
    smallest[:held].sort()
    kept = 0
    for i in range(held):
        if kept == smallest.size // 2:
            break
        if kept == 0 or smallest[i] != smallest[kept - 1]:
            smallest[kept] = smallest[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _add_files(
    text: Text,
    starts: Offsets,
    ends: Offsets,
    slots: Hashes,
    smallest: Hashes,
    limit: Hashes,
    counts: npt.NDArray[np.int64],
    digests: Hashes,
) -> None:
    word_starts, word_stops = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK + 1, np.int64)
    window = np.empty(_LAST + 1, np.uint64)
    held = counts[1]
    for file in range(starts.size):
        position, end = starts[file], ends[file]
        window[:] = 0
        gram = digest = np.uint64(0)
        words = 0
        while position < end:
            found, position = read_words(text, position, end, word_starts, word_stops)
            for i in range(found):
                word = hash_word(text, word_starts[i], word_stops[i])
                digest = digest * GRAM_BASE + word
                gram = gram * GRAM_BASE + word - window[(words - SHINGLE_WORDS) & _LAST] * _OLDEST
                window[words & _LAST] = word
                words += 1
                if words >= SHINGLE_WORDS:
                    held = _insert(gram, slots, smallest, limit, held)
        if 0 < words < SHINGLE_WORDS:
            held = _insert(gram, slots, smallest, limit, held)
        digests[file] = digest
        counts[0] += words
    counts[1] = held


@njit(cache=True, nogil=True)
def _densify(slots: Hashes) -> Hashes:
    dense = slots.copy()
    for slot in range(slots.size):
        attempt = np.uint64(slot)
        source = np.uint64(slot)
        while slots[source] == _EMPTY:
            attempt = mix(attempt + GRAM_BASE)
            source = ((attempt >> _HALF) * np.uint64(slots.size)) >> _HALF
        dense[slot] = slots[source]
    return dense


@njit(cache=True, nogil=True)
def _buckets(dense: Hashes, bands: int, rows: int) -> Hashes:
    buckets = np.empty(bands, np.uint64)
    for band in range(bands):
        value = np.uint64(band)
        for row in range(band * rows, (band + 1) * rows):
            value = mix(value * GRAM_BASE + dense[row])
        buckets[band] = value
    return buckets
