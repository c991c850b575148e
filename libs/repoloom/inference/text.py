"""Text to token ids and back, for prompts: hostile text never becomes a special token."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from repoloom.errors import InputError
from repoloom.prompts import special_tokens
from repoloom.prompts.special_tokens import ALL, Segment, SpecialToken


class TextCodec:
    """A tokenizer as inference needs it."""

    def __init__(self, tokenizer_json: bytes) -> None:
        """Raises InputError if it is no tokenizer, or lacks a special token."""
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"not a Hugging Face tokenizer: {error}") from error
        self._tokenizer.encode_special_tokens = True
        self.size: int = self._tokenizer.get_vocab_size()
        self.ids = {token: self._id(token) for token in ALL}

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        """The ids of a rendered document or prompt."""
        return special_tokens.encode(segments, self._encode_text, self.ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 become the replacement character."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def spelled(self) -> dict[int, bytes]:
        """The bytes that each token stands for; of several in a row they may make up one character."""
        byte_of = {character: number for number, character in _bytes_to_characters().items()}
        special = {number: token.encode() for token, number in self.ids.items()}
        written = {
            number: bytes(byte_of[character] for character in token)
            for token, number in self._tokenizer.get_vocab(with_added_tokens=False).items()
            if number not in special
        }
        return written | special

    def starts(self, text: str) -> list[int]:
        """For each token of a text, the character that it starts at."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [start for start, _ in encoding.offsets]

    def line_ends(self) -> frozenset[int]:
        """The tokens whose text holds a line break."""
        return frozenset(number for number in range(self.size) if "\n" in self.decode([number]))

    def blanks(self) -> frozenset[int]:
        """The tokens whose text is white space."""
        return frozenset(number for number in range(self.size) if self.decode([number]).isspace())

    def _id(self, token: SpecialToken) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        if number is None:
            raise InputError(f"the tokenizer has no token {token!r}")
        return number

    def _encode_text(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _bytes_to_characters() -> dict[int, str]:
    """How byte-level BPE spells each byte: those that are printable as themselves, the rest from U+0100 on (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [number for number in range(256) if number not in printable]
    return {number: chr(number) for number in printable} | {
        number: chr(256 + place) for place, number in enumerate(others)
    }
