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


_LETTER_OR_NOT = bytes(byte in string.ascii_letters.encode() for byte in range(256))
_ASCII = bytes(range(0x80))
_NEWLINE = ord("\n")

# StarCoder2's encoded data filter (arXiv 2402.19173, section 3.2.2): runs of at least 64 base64 characters, of 8 bytes
# in hexadecimal, of 8 Unicode escapes. Its hexadecimal pattern also takes bare pairs of digits, which are ordinary
# numbers; here they have to say 0x or \x. Separators are possessive, so that no match is tried twice over them.
_BASE64 = f"{string.ascii_letters}{string.digits}+/=\n".encode()
_BASE64_OR_NOT = bytes(byte in _BASE64 for byte in range(256))
_BASE64_RUN = b"\1" * 64


def _eight_or_more(unit: bytes) -> re.Pattern[bytes]:
    """Said so that it begins with the unit's own literal, which is searched for at the speed of memory."""
    return re.compile(unit + b"(?:" + unit + b"){7,}")


_ESCAPES = (
    _eight_or_more(rb"0x[0-9a-fA-F]{2,16}[uUlL]{0,3}[\s,]*+"),
    _eight_or_more(rb"\\x[0-9a-fA-F]{2}[\s,]*+"),
    _eight_or_more(rb"\\u[0-9a-fA-F]{4}"),
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
    if not len(breaks):
        return Lines(len(units), len(units))
    last = len(units) - 1 - int(breaks[-1])
    between = int((breaks[1:] - breaks[:-1]).max(initial=1)) - 1
    count = len(breaks) + (last > 0)
    return Lines((len(units) - len(breaks)) / count, max(int(breaks[0]), between, last))


def alphabetic(text: bytes) -> float:
    """The share of characters that are letters in Unicode's sense."""
    letters = int(np.count_nonzero(np.frombuffer(text.translate(_LETTER_OR_NOT), np.uint8)))
    if text.isascii():
        return letters / len(text)
    letters += sum(map(str.isalpha, text.translate(None, _ASCII).decode()))
    return letters / characters(text)


def encoded(text: bytes) -> Encoded:
    """How much of the text is encoded data."""
    runs: list[int] = []
    base64 = text.translate(_BASE64_OR_NOT)
    if _BASE64_RUN in base64:
        others = np.flatnonzero(np.frombuffer(base64, np.uint8) == 0)
        gaps = np.diff(others, prepend=-1, append=len(text)) - 1
        runs += gaps[gaps >= len(_BASE64_RUN)].tolist()
    for escapes in _ESCAPES:
        runs += [match.end() - match.start() for match in escapes.finditer(text)]
    return Encoded(max(runs, default=0), sum(runs) / len(text))


def _starts(text: bytes) -> npt.NDArray[np.bool_]:
    """For each byte, whether a character begins with it."""
    starts: npt.NDArray[np.bool_] = (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
    return starts
