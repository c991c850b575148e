"""What a text measures: characters, lines, letters, encoded data. Whole buffers at a time, linear in their length.

Texts are as `decode` leaves them: valid UTF-8, lines ended by newlines. Lengths count Unicode characters, not bytes.
"""

import re
import string
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Lines(NamedTuple):
    """The lengths of a text's lines, without their line breaks, in characters."""

    average: float
    longest: int


class Encoded(NamedTuple):
    """Data written out as text: base64, hexadecimal bytes, Unicode escapes."""

    longest: int  # characters of the longest run
    share: float  # of the text's bytes


_ASCII_LETTERS = string.ascii_letters.encode()
_ASCII = bytes(range(0x80))
_NEWLINE = ord("\n")

# StarCoder2's encoded data filter (arXiv 2402.19173, section 3.2.2): runs of at least 64 base64 characters, of 8 bytes in
# hexadecimal, of 8 Unicode escapes. Its hexadecimal pattern also takes bare pairs of digits, which are ordinary numbers;
# here they have to say 0x or \x. Separators are possessive, so that no match is tried twice over them.
_BASE64 = np.zeros(256, bool)
_BASE64[list(f"{string.ascii_letters}{string.digits}+/=\n".encode())] = True
_BASE64_RUN = 64
_ESCAPES = re.compile(
    rb"(?:(?:0[xX]|\\x)[0-9a-fA-F]{2,16}[uUlL]{0,3}[\s,]*+){8,}|(?:\\u[0-9a-fA-F]{4}){8,}"
)


def characters(text: bytes) -> int:
    """The number of Unicode characters."""
    return len(text) if text.isascii() else int(np.count_nonzero(_starts(text)))


def lines(text: bytes) -> Lines:
    """The lengths of the lines; a last one without a line break counts too."""
    units = np.frombuffer(text, np.uint8)
    if not text.isascii():
        units = units[_starts(text)]  # one byte for each character
    breaks = np.flatnonzero(units == _NEWLINE)
    if not len(breaks) or breaks[-1] != len(units) - 1:
        breaks = np.append(breaks, len(units))
    lengths = np.diff(breaks, prepend=-1) - 1
    return Lines(float(lengths.mean()), int(lengths.max()))


def alphabetic(text: bytes) -> float:
    """The share of characters that are letters in Unicode's sense."""
    letters = len(text) - len(text.translate(None, _ASCII_LETTERS))
    if text.isascii():
        return letters / len(text)
    letters += sum(map(str.isalpha, text.translate(None, _ASCII).decode()))
    return letters / characters(text)


def encoded(text: bytes) -> Encoded:
    """How much of the text is encoded data."""
    others = np.flatnonzero(~_BASE64[np.frombuffer(text, np.uint8)])
    gaps = np.diff(others, prepend=-1, append=len(text)) - 1
    runs = gaps[gaps >= _BASE64_RUN].tolist()
    if b"0x" in text or b"0X" in text or b"\\" in text:
        runs += [match.end() - match.start() for match in _ESCAPES.finditer(text)]
    return Encoded(max(runs, default=0), sum(runs) / len(text))


def _starts(text: bytes) -> npt.NDArray[np.bool_]:
    """For each byte, whether a character begins with it."""
    return (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
