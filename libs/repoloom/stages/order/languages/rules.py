"""What the rules of every language give: the imports in a file's text, and the files that an import means."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from repoloom.stages.order.tree import Tree


@dataclass(frozen=True, slots=True)
class Import:
    """One thing that a file says of its ties to other files."""

    target: str  # as written, e.g. "..models", "./util.js", "sys/queue.h"
    line: int  # from 1
    kind: str  # a word of the language's rules, e.g. "import", "include"


@dataclass(frozen=True, slots=True)
class Target:
    """A file that an import means, and how that was found."""

    path: str
    how: str


class Index(Protocol):
    """One repository, prepared for resolving the imports of one language."""

    def resolve(self, importer: str, found: Import) -> Iterable[Target]:
        """The files that an import of `importer` means; none where it points outside the repository."""
        ...


class Rules(Protocol):
    """The form of every module in this package."""

    LANGUAGES: frozenset[str]

    def imports(self, content: bytes) -> Iterator[Import]:
        """What a file imports, in the order of the text, from any bytes in time linear in them."""
        ...

    def index(self, tree: Tree, scanned: Mapping[str, Sequence[Import]]) -> Index:
        """Prepares one repository, given what `imports` found in each of the language's files."""
        ...


class Lines:
    """Line numbers of ascending positions in a text."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0
        self._line = 1

    def at(self, position: int) -> int:
        self._line += self._content.count(b"\n", self._position, position)
        self._position = position
        return self._line


def blank(noise: re.Pattern[bytes], content: bytes) -> bytes:
    """The content with comments and strings cut out, its lines kept."""
    return noise.sub(_line_breaks, content)


def _line_breaks(found: re.Match[bytes]) -> bytes:
    return b"\n" * found[0].count(b"\n") or b" "


def text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


C_NOISE = re.compile(
    rb"//[^\n]*+"
    rb"|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?"
    rb'|"""(?:[^"\\]++|\\.|"(?!""))*+(?:""")?'
    rb'|"(?:[^"\\\n]++|\\.)*+"?'
    rb"|'(?:[^'\\\n]++|\\.)*+'?",
    re.DOTALL,
)
"""Comments, strings and characters of the languages that lex like Java; what is not closed ends with the text or line."""

_HEADS = bytes(byte if chr(byte).isalnum() or byte in b"_.$" or byte >= 0x80 else 0x20 for byte in range(256))


def dotted_words(code: bytes) -> set[bytes]:
    """The distinct identifiers of a text, with what follows them after dots: `Map.Entry`, `value.size`."""
    return set(code.translate(_HEADS).split())
