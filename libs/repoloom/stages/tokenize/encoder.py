"""Encoding text to token ids, exactly as Hugging Face tokenizers does and several times as fast.

BPE of one pre-token depends on nothing around it, so the ids of each distinct pre-token are computed once, by Hugging
Face tokenizers itself, and remembered. Source code repeats itself: almost every pre-token has been seen before.
"""

import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from repoloom.errors import InputError
from repoloom.prompts.special_tokens import ALL, SpecialToken
from repoloom.stages.tokenize.pretokenizer import ASCII_PIECES, pre_tokenizer

Ids = NDArray[np.uint16]

_BLOCK = 1 << 20  # characters, to the end of a line; what is being cut into pre-tokens takes some 30 times as much
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_REMEMBERED = 1 << 20  # distinct pre-tokens, about 150 MB with their ids; past it the memory starts anew
_UNUSED = ("truncation", "padding")
_UNUSED_OF_MODEL = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
_DECODER = {"type": "ByteLevel"}
_NO_NORMALIZER = {"type": "Sequence", "normalizers": []}  # as DeepSeek-Coder's own has it
_LONGEST_REMEMBERED = 64  # characters; longer ones hardly come twice


@functools.lru_cache(maxsize=2)
def encoder_of(tokenizer_json: bytes) -> "Encoder":
    """The encoder of a tokenizer, with what it remembers, for whoever encodes with it next. Raises InputError."""
    return Encoder(tokenizer_json)


class Encoder:
    """Text to ids, for several threads at once. Text that spells a special token is encoded as the text it is."""

    def __init__(self, tokenizer_json: bytes) -> None:
        """Raises InputError where it is no tokenizer of ours: another pre-tokenizer, or a special token is missing."""
        self._tokenizer = _load(tokenizer_json)
        self._tokenizer.encode_special_tokens = True
        self._pieces = _Pieces(self._tokenizer)
        self.special: dict[SpecialToken, int] = {token: self._id(token) for token in ALL}
        self.line_break = self._id("Ċ")  # how byte-level BPE spells "\n"

    def encode(self, text: str) -> Ids:
        """The ids of a text, encoded block by block: no token crosses the end of a line."""
        return np.concatenate([np.empty(0, dtype="<u2"), *map(self._block, blocks(text))])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens spelled out. Raises InputError for an id that is not in the vocabulary."""
        self.size_of(ids)
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def size_of(self, ids: Sequence[int]) -> int:
        """Bytes of the text of ids. Raises InputError for an id that is not in the vocabulary."""
        given = np.asarray(ids, dtype=np.int64)
        for number in given[(given < 0) | (given >= len(self._sizes))][:1]:
            raise InputError(f"there is no token {number}: the vocabulary has {len(self._sizes)}")
        return int(self._sizes[given].sum())

    @functools.cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """By id the bytes of a token's text: byte-level BPE spells each byte as a character."""
        vocabulary = self._tokenizer.get_vocab()
        sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
        added = {
            number: len(token.content.encode()) for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }
        for token, number in vocabulary.items():
            sizes[number] = added.get(number, len(token))
        return sizes

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


def _load(tokenizer_json: bytes) -> Tokenizer:
    try:
        described = json.loads(tokenizer_json)
        _check(described)
        tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    except InputError:
        raise
    except Exception as error:  # the library raises a plain Exception
        raise InputError(f"not a tokenizer.json: {type(error).__name__}: {str(error)[:200]}") from None
    ids = tokenizer.get_vocab().values()
    if (last := max(ids, default=0)) >= 1 << 16:
        raise InputError(f"the tokenizer has a token {last}; ids are stored as uint16, so the last may be 65535")
    if len(set(ids)) < len(ids):
        raise InputError("the tokenizer has several tokens with one id")
    return tokenizer


def _check(described: Any) -> None:  # noqa: ANN401 - JSON
    """Raises InputError for a tokenizer of which it does not hold that pre-tokens are encoded one by one, and whole."""
    model = described["model"]
    if model["type"] != "BPE" or described["pre_tokenizer"] != json.loads(pre_tokenizer().__getstate__()):
        raise InputError("the tokenizer is not a byte-level BPE with DeepSeek-Coder's pre-tokenizer")
    set_up = [name for name in _UNUSED if described.get(name)] + [name for name in _UNUSED_OF_MODEL if model.get(name)]
    if described.get("normalizer") not in (None, _NO_NORMALIZER):
        set_up.append("normalizer")
    if (described.get("decoder") or _DECODER)["type"] != _DECODER["type"]:
        set_up.append("decoder")
    if set_up:
        raise InputError(f"the tokenizer has {', '.join(set_up)} set up otherwise than DeepSeek-Coder's has")
    for token in described["added_tokens"]:
        if not token["special"] and (token["lstrip"] or token["rstrip"] or re.search(r"[\r\n]", token["content"])):
            raise InputError(f"the tokenizer's added token {token['content'][:50]!r} takes in line breaks")


def blocks(text: str) -> Iterator[str]:
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
