"""How much of a file its language's grammar cannot read: parsed by tree-sitter, in bounded work, without recursion."""

from functools import cache
from typing import Final

from tree_sitter import Parser, Point, Tree
from tree_sitter_language_pack import get_parser

from repoloom.corpus.languages import by_name

CHUNK: Final = 4096
"""Bytes that the parser reads at a time."""

READS_PER_CHUNK: Final = 1000
"""How often a file may be read over before it is given up. Hostile input makes some grammars scan to the end of the
file at each token (Dart, Bash and Erlang on a row of brackets or quotes: hours for a megabyte). Reads are counted,
since they are the same on every machine, as time is not. Honest files need up to 16, in F# and Scala up to 550."""

_GRAMMARS = {".tsx": "tsx", ".mli": "ocaml_interface", ".fsi": "fsharp_signature"}
"""Where a kind of file has a grammar of its own within its language."""


def grammar_of(path: str, language: str) -> str | None:
    """The grammar that reads a file; None where there is none."""
    return _GRAMMARS.get(path[path.rfind(".") :]) or by_name(language).grammar


def error_share(text: bytes, grammar: str) -> float | None:
    """The share of a text's bytes that belong to no construct of the language.

    Those are the tokens that stand directly under an ERROR node, and what no token could be made of. A construct that
    was read well inside of one counts as well read: an unclosed bracket wraps all that follows it, function by
    function, in one ERROR. A token that the grammar misses and makes up counts as one byte;
    of a text of a few bytes they may be more than it has, and then all of it is wrong.

    Returns:
        The share, or None where the text was given up.
    """
    source = _Source(text)
    tree = parser(grammar).parse(source.read)
    if source.given_up:
        return None
    return min(1.0, _bytes_in_error(tree) / max(1, len(text))) if tree.root_node.has_error else 0.0


@cache
def parser(grammar: str) -> Parser:
    """The parser of a grammar, made once."""
    return get_parser(grammar)  # type: ignore[arg-type]  # a name of language_table: a test holds them to the pack's


class _Source:
    """A text that can be read only so often."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._reads_left = READS_PER_CHUNK * (len(text) // CHUNK + 1)

    def read(self, offset: int, _: Point) -> bytes:
        """The chunk from an offset on; nothing, as at the end of the file, once the reads are used up."""
        if self.given_up:
            return b""
        self._reads_left -= 1
        return self._text[offset : offset + CHUNK]

    @property
    def given_up(self) -> bool:
        return self._reads_left <= 0


def _bytes_in_error(tree: Tree) -> int:
    """Walks only where there are errors below; the way up is a list, so that nesting costs no stack."""
    cursor = tree.walk()
    total = 0
    above = [False]  # whether each node on the way down, the parent last, is an ERROR
    while True:
        node = cursor.node
        assert node is not None
        if node.is_missing:
            total += 1
        elif node.child_count == 0:
            if above[-1] or node.is_error:
                total += node.end_byte - node.start_byte
        elif node.has_error and cursor.goto_first_child():
            above.append(node.is_error)
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return total
            above.pop()
