"""Encoding text to token ids, exactly as Hugging Face tokenizers does and several times as fast.

BPE of one pre-token depends on nothing around it, so the ids of each distinct pre-token are computed once, by Hugging
Face tokenizers itself, and remembered. Source code repeats itself: almost every pre-token has been seen before.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from repoloom.errors import InputError
from repoloom.prompts.special_tokens import ALL, SpecialToken
from repoloom.stages.tokenize.pretokenizer import ASCII_PIECES

Ids = NDArray[np.uint16]

_BLOCK = 1 << 20  # characters, to the end of a line; what is being cut into pre-tokens takes some 30 times as much
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_REMEMBERED = 1 << 20  # distinct pre-tokens, about 150 MB with their ids; past it the memory starts anew
_LONGEST_REMEMBERED = 64  # characters; longer ones hardly come twice


class Encoder:
    """Text to ids. Text that spells a special token is encoded as the text it is."""

    def __init__(self, tokenizer_json: bytes) -> None:
        """Raises InputError where the tokenizer lacks a special token."""
        self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self._tokenizer.encode_special_tokens = True
        self._pieces = _Pieces(self._tokenizer)
        self.special: dict[SpecialToken, int] = {token: self._id(token) for token in ALL}
        self.line_break = self._id("Ċ")  # how byte-level BPE spells "\n"

    def encode(self, text: str) -> Ids:
        """The ids of a text, encoded block by block: no token crosses the end of a line."""
        return np.concatenate([np.empty(0, dtype="<u2"), *map(self._block, _blocks(text))])

    def _block(self, text: str) -> Ids:
        if text.isascii():
            ids = b"".join(map(self._pieces.__getitem__, ASCII_PIECES.findall(text)))
            if len(self._pieces) > _REMEMBERED:
                self._pieces.clear()
            return np.frombuffer(ids, dtype="<u2")
        lines = _LINES.findall(text)
        encoded = []
        start = 0
        while start < len(lines):
            end = start + 1
            ascii_run = lines[start].isascii()
            while end < len(lines) and lines[end].isascii() == ascii_run:
                end += 1
            run = "".join(lines[start:end])
            encoded.append(self._block(run) if ascii_run else _ids(self._tokenizer, run))
            start = end
        return np.concatenate(encoded)

    def _id(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        if number is None:
            raise InputError(f"the tokenizer has no token {token!r}")
        return number


def _blocks(text: str) -> Iterator[str]:
    """The text in parts of at least `_BLOCK` characters, each but the last up to a line break."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _BLOCK - 1) + 1 or len(text)
        yield text[start:end]
        start = end


class _Pieces(dict[str, bytes]):
    """Pre-token -> its ids as little-endian uint16."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __missing__(self, piece: str) -> bytes:
        ids = _ids(self._tokenizer, piece).tobytes()
        if len(piece) <= _LONGEST_REMEMBERED:
            self[piece] = ids
        return ids


def _ids(tokenizer: Tokenizer, text: str) -> Ids:
    return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, dtype="<u2")
