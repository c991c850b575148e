"""Words of a byte buffer and their hashes: the one definition that deduplication and decontamination share.

A word is a run of ASCII letters, digits, underscores and bytes from 0x80 on; all else only separates, so layout and
punctuation do not count. Chinese and Japanese put no spaces between words: there a word also ends before each UTF-8
lead byte 0xE3-0xE9 (U+3000 to U+9FFF), so that a character is a word. Any bytes are accepted, UTF-8 or not.

Everything here is compiled into the loops that use it, so numba's cache is one of this file's content.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from repoloom.corpus.kernel_cache import use_cache_for

use_cache_for(Path(__file__))  # before anything is decorated, here and in all that import this

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

BLOCK: Final = 4096
"""Bytes that `read_words` looks at in a call: what it hands out stays in the first-level cache."""

GRAM_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
"""Base of the polynomial hash of consecutive words, modulo 2^64: 2^64 divided by the golden ratio, which is odd."""

# MurmurHash3's 64-bit finalizer (Austin Appleby, public domain).
_MIX_1: Final = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2: Final = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_SHIFT: Final = np.uint64(33)
_ALL_BITS: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

SEPARATOR, WORD, IDEOGRAPH = 0, 1, 2


def _classes() -> Bytes:
    classes = np.full(256, SEPARATOR, np.uint8)
    classes[[byte for byte in range(128) if chr(byte).isalnum() or byte == ord("_")]] = WORD
    classes[0x80:] = WORD
    classes[0xE3:0xEA] = IDEOGRAPH
    return classes


CLASS: Final = _classes()
"""(256,): what each byte is."""


class Text(NamedTuple):
    """A byte buffer as the compiled loops read it."""

    bytes: Bytes  # (size,)
    eights: Hashes  # (size - 7,): the eight bytes from each position on, little-endian, unaligned


def as_text(buffer: bytes | memoryview | pa.Buffer) -> Text:
    """The buffer as a text, without a copy."""
    size = memoryview(buffer).nbytes
    return Text(
        bytes=np.frombuffer(buffer, np.uint8),
        eights=np.ndarray((max(0, size - 7),), np.dtype("<u8"), buffer, strides=(1,)),
    )


@njit(cache=True, nogil=True, forceinline=True)
def mix(value: np.uint64) -> np.uint64:
    """A bijection of 64-bit numbers in which every bit of the input moves every bit of the output."""
    value = (value ^ (value >> _MIX_SHIFT)) * _MIX_1
    value = (value ^ (value >> _MIX_SHIFT)) * _MIX_2
    return value ^ (value >> _MIX_SHIFT)


@njit(cache=True, nogil=True, forceinline=True)
def _load(text: Text, position: int, count: int) -> np.uint64:
    """The next `count` bytes, 1 to 8, as a little-endian number."""
    if position < text.eights.size:
        eight: np.uint64 = text.eights[np.uint64(position)]
        return eight & (_ALL_BITS >> np.uint64(64 - 8 * count))
    value = np.uint64(0)
    for i in range(count):
        value |= np.uint64(text.bytes[position + i]) << np.uint64(8 * i)
    return value


@njit(cache=True, nogil=True, forceinline=True)
def hash_word(text: Text, start: int, stop: int) -> np.uint64:
    """The 64-bit hash of a word."""
    value = np.uint64(0)
    while stop - start > 8:
        value = mix(value ^ _load(text, start, 8))
        start += 8
    return mix(value ^ _load(text, start, stop - start))


@njit(cache=True, nogil=True, forceinline=True)
def next_word(text: Text, position: int, end: int) -> tuple[int, int]:
    """Where the first word of `text[position:end]` starts and stops; (end, end) if there is none."""
    while position < end and CLASS[text.bytes[position]] == SEPARATOR:
        position += 1
    start = position
    if position < end:
        position += 1
    while position < end and CLASS[text.bytes[position]] == WORD:
        position += 1
    return start, position


@njit(cache=True, nogil=True, forceinline=True)
def read_words(text: Text, position: int, end: int, starts: Offsets, stops: Offsets) -> tuple[int, int]:
    """Finds the words of the next block of `text[position:end]`, where no word is under way at `position`.

    Writes where they start and stop into two arrays of BLOCK + 1 each. Returns how many there are, and the position to
    go on from.
    """
    limit = min(end, position + BLOCK)
    begun = ended = 0
    before = np.uint8(SEPARATOR)
    for i in range(position, limit):  # no branch: neither the words' lengths nor the separators' can be predicted
        here = CLASS[text.bytes[np.uint64(i)]]
        edge = (before == SEPARATOR) | (here != WORD)
        starts[begun] = i
        begun += edge & (here != SEPARATOR)
        stops[ended] = i
        ended += edge & (before != SEPARATOR)
        before = here
    if begun == ended:
        return begun, limit
    if begun > 1 and limit < end:  # the last word may go on: it is read again with the next block
        return ended, starts[ended]
    while limit < end and CLASS[text.bytes[np.uint64(limit)]] == WORD:
        limit += 1
    stops[ended] = limit
    return begun, limit
