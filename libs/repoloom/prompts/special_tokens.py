"""The special tokens, spelled as DeepSeek-Coder's tokenizer spells them, and text kept apart from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar


class SpecialToken(str):
    """One special token. Text that merely spells it is a plain `str`, and is encoded as the text it is."""

    __slots__ = ()


T = TypeVar("T")

Segment: TypeAlias = str
"""Text to encode, or one token where it is a `SpecialToken`."""

BOS = SpecialToken("<｜begin▁of▁sentence｜>")
EOS = SpecialToken("<｜end▁of▁sentence｜>")
FIM_HOLE = SpecialToken("<｜fim▁hole｜>")
FIM_BEGIN = SpecialToken("<｜fim▁begin｜>")
FIM_END = SpecialToken("<｜fim▁end｜>")
PAD = SpecialToken("<｜▁pad▁｜>")
EOT = SpecialToken("<|EOT|>")

ALL: tuple[SpecialToken, ...] = (BOS, EOS, FIM_HOLE, FIM_BEGIN, FIM_END, PAD, EOT)
"""In the order of their ids, which follow the last merge, as in the released tokenizers."""


def encode(
    segments: Iterable[SpecialToken | T], encode_text: Callable[[T], Sequence[int]], ids: Mapping[SpecialToken, int]
) -> list[int]:
    """The token ids of rendered segments, each text (or what stands for one) encoded by itself.

    `encode_text` must treat text that spells a special token as text; a Hugging Face tokenizer does so once its
    `encode_special_tokens` is set.
    """
    tokens: list[int] = []
    for segment in segments:
        if isinstance(segment, SpecialToken):
            tokens.append(ids[segment])
        elif segment:
            tokens.extend(encode_text(segment))
    return tokens
