"""Words for people: text of unknown origin made safe to look at, and what somebody meant who wrote another word."""

import difflib
import unicodedata
from collections.abc import Iterable

_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str, kept: str = "\n\t") -> str:
    """The text with each character that has no shape, or turns the direction of writing, spelled out as its code point.

    Names and contents are whatever anybody chose; none may look like another, move the text beside it, or command a
    terminal. Where a text is to stay on its line, nothing is `kept`.
    """
    if text.isprintable():
        return text
    return "".join(f"⟨{ord(c):04X}⟩" if unicodedata.category(c) in _CONTROL and c not in kept else c for c in text)


def nearest(word: str, allowed: Iterable[str], *, alike: float = 0.6) -> str:
    """`; did you mean 'filter'?`, to stand behind an error; nothing where no allowed word is so much alike."""
    near = difflib.get_close_matches(word, [str(one) for one in allowed], n=1, cutoff=alike)
    return f"; did you mean {near[0]!r}?" if near else ""


def none_of(word: str, allowed: Iterable[str]) -> str:
    """`'filtr' is none of crawl, filter; did you mean 'filter'?`"""
    known = [str(one) for one in allowed]
    return f"{word!r} is none of {', '.join(known)}{nearest(word, known)}"
