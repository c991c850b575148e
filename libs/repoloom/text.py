"""Text of unknown origin made safe to look at, on a page or a terminal."""

import unicodedata

_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str, kept: str = "\n\t") -> str:
    """The text with each character that has no shape, or turns the direction of writing, spelled out as its code point.

    Names and contents are whatever anybody chose; none may look like another, move the text beside it, or command a
    terminal. Where a text is to stay on its line, nothing is `kept`.
    """
    if text.isprintable():
        return text
    return "".join(f"⟨{ord(c):04X}⟩" if unicodedata.category(c) in _CONTROL and c not in kept else c for c in text)
