"""Reading source text as bytes: line numbers, comments and strings cut out, identifiers found."""

import re
from collections.abc import Collection

# Pieces of patterns, to be compiled with DOTALL. Each begins with a literal, which lets the search skip to it, and what
# is never closed is taken to its end, which keeps the search linear.
COMMENT = rb"//[^\n]*+|/\*(?:[^*]*+\*++(?:[^/*][^*]*+\*++)*/|.*+)"
TEXT_BLOCK = rb'"""(?:[^"\\]++|\\.|"[^"\\]|""[^"\\]|"\\.|""\\.)*+(?:"""|.*+)'
DOUBLE_QUOTED = rb'"(?:[^"\\\n]++|\\.)*+"?'
SINGLE_QUOTED = rb"'(?:[^'\\\n]++|\\.)*+'?"
BACKQUOTED = rb"`(?:[^`\\]++|\\.)*+`?"


class Lines:
    """The line numbers of ascending positions in a text."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0
        self._line = 1

    def at(self, position: int) -> int:
        self._line += self._content.count(b"\n", self._position, position)
        self._position = position
        return self._line


def text(name: bytes) -> str:
    """A name as a string, whatever its bytes are."""
    return name.decode("utf-8", "replace")


def blank(noise: re.Pattern[bytes], content: bytes) -> bytes:
    """The content with what matches `noise` cut out and its lines kept."""
    return noise.sub(line_breaks, content)


def line_breaks(found: re.Match[bytes]) -> bytes:
    """What stands for a text that is cut out: its line breaks, or a space."""
    return b"\n" * found[0].count(b"\n") or b" "


_IDENTIFIER = frozenset(byte for byte in range(256) if bytes((byte,)).isalnum() or byte in b"_$" or byte >= 0x80)
_WORDS = bytes(byte if byte in _IDENTIFIER or byte == ord(".") else ord(" ") for byte in range(256))
_WORD = re.compile(rb"[\w$\x80-\xff]++")
_FEW = 64  # names that are each searched for: up to here cheaper than to go through all words


def heads(code: bytes) -> set[bytes]:
    """The distinct identifiers of a text without comments and strings.

    What follows a dot belongs to something else and keeps its dot: of `list.size()` there are `list` and `.size`.
    """
    return set(code.replace(b"...", b" ").replace(b".", b" .").translate(_WORDS).split())


def first_uses(code: bytes, names: Collection[bytes]) -> list[tuple[int, bytes]]:
    """Where each of some heads stands first, in the order of the text."""
    if len(names) <= _FEW:
        return sorted((_position(code, name), name) for name in names)
    first: dict[bytes, int] = {}
    for found in _WORD.finditer(code):
        if not code.startswith(b".", found.start() - 1, found.start()):
            first.setdefault(found[0], found.start())
    return sorted((first.get(name, code.find(name)), name) for name in names)


def _position(code: bytes, name: bytes) -> int:
    """The first place of a name as a word of its own."""
    first = position = code.find(name)
    tries = 0
    while position >= 0 and tries < _FEW:
        before, after = code[position - 1 : position], code[position + len(name) : position + len(name) + 1]
        if not (before and (before in b"." or before[0] in _IDENTIFIER)) and not (after and after[0] in _IDENTIFIER):
            return position
        position = code.find(name, position + 1)
        tries += 1
    return first  # part of very many other words: near enough for a line number
