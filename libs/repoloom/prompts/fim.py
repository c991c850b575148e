"""Fill-in-the-middle: where a document is cut, and how its pieces are laid out for training and for inference.

DeepSeek-Coder cuts half of all documents, by character and before packing, and lays the parts out as PSM
(arXiv 2401.14196 section 3.1.2). Here a document longer than a sequence is first parted into pieces, and the hole is
drawn for each piece. Every layout ends with the middle, so a training text with a hole is exactly an inference prompt,
the middle, and EOS, which says that the middle is complete.
"""

import hashlib
import struct
from enum import StrEnum
from typing import TypeVar

from repoloom.prompts.special_tokens import BOS, EOS, FIM_BEGIN, FIM_END, FIM_HOLE, Segment, SpecialToken

T = TypeVar("T")


class Order(StrEnum):
    """How the pieces are laid out."""

    PSM = "psm"
    """Prefix, suffix, middle: `<begin> prefix <hole> suffix <end> middle` (arXiv 2401.14196 section 3.1.2)."""
    SPM = "spm"
    """Suffix, prefix, middle: `<begin> <hole> suffix <end> prefix middle`, the variant that shares its form with PSM
    (arXiv 2207.14255 appendix D); the middle goes on where the prefix ends."""
    MSP = "msp"
    """Masked span prediction with one span: `prefix <hole> suffix <end> <hole> middle`, the text left in its place and
    the hole named again before what filled it (arXiv 2305.02309)."""


def prompt(prefix: str, suffix: str, order: Order = Order.PSM) -> tuple[Segment, ...]:
    """What the model reads before it writes the middle."""
    match order:
        case Order.PSM:
            return BOS, FIM_BEGIN, prefix, FIM_HOLE, suffix, FIM_END
        case Order.SPM:
            return BOS, FIM_BEGIN, FIM_HOLE, suffix, FIM_END, prefix
        case Order.MSP:
            return BOS, prefix, FIM_HOLE, suffix, FIM_END, FIM_HOLE


def render(prefix: str, middle: str, suffix: str, order: Order = Order.PSM) -> tuple[Segment, ...]:
    """A text with a hole as training reads it. EOS ends the middle, also where the document goes on after the text."""
    return *prompt(prefix, suffix, order), middle, EOS


def without_hole(content: T, *, ends: bool) -> tuple[SpecialToken | T, ...]:
    """A text without a hole, or its tokens, as training reads it: EOS follows where the document `ends` with it."""
    return (BOS, content, EOS) if ends else (BOS, content)


def draw(seed: int, epoch: int, key: str, length: int, rate: float) -> tuple[int, int] | None:
    """Whether and where a text of `length` characters is cut: the start and the end of its middle, or None.

    Two cuts drawn uniformly from the `length + 1` places between characters (arXiv 2207.14255 section 3). A pure
    function of its arguments, so that no generator's state needs to be kept or shared. `rate` is the share of texts
    that are cut: 0 none, 1 all of them.
    """
    counter = f"{seed}/{epoch}/{key}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(counter, digest_size=24, person=b"repoloom.fim").digest()
    chance, one, other = struct.unpack("<QQQ", digest)
    if chance >= rate * 2**64:
        return None
    cuts = (one * (length + 1) >> 64, other * (length + 1) >> 64)
    return min(cuts), max(cuts)
