"""Types declared in Java or C# source text: in which namespace, and whether inside another type."""

import re
from collections.abc import Iterator

from repoloom.stages.order.languages.lexing import text
from repoloom.stages.order.languages.rules import Declared
from repoloom.stages.order.tree import MAX_DEPTH

_NAMESPACE = re.compile(rb"namespace(?<![\w.]namespace)\s++([\w.]{1,1024}+)\s*+(;?)")
_TYPES = {
    keyword: re.compile(keyword + rb"(?<![\w.]" + keyword + rb")\s++([\w$\x80-\xff]++)" + after)
    for keyword, after in (
        (b"class", b""),
        (b"interface", b""),
        (b"enum", b""),
        (b"struct", b""),
        (b"record", rb"(?=\s*+[(<:{;])"),  # a word like any other elsewhere
    )
}
"""A pattern for each keyword: the search for one literal is many times faster than for any of several."""


def types(code: bytes) -> Iterator[Declared]:
    """The types of a text without comments and strings, in its order."""
    found = [match for keyword, pattern in _TYPES.items() if keyword in code for match in pattern.finditer(code)]
    if b"namespace" in code:
        found.extend(_NAMESPACE.finditer(code))
    found.sort(key=re.Match.start)
    whole_file = b""
    opened: list[tuple[bytes, int]] = []  # namespaces in braces, and the depth around each
    depth = last = 0
    for match in found:
        depth += code.count(b"{", last, match.start()) - code.count(b"}", last, match.start())
        last = match.start()
        while opened and depth <= opened[-1][1]:
            opened.pop()
        if match.re is not _NAMESPACE:
            if match[1] != b"where":  # C#: `where T : class where U : ...`
                spaces = [space for space in (whole_file, *(name for name, _ in opened[:MAX_DEPTH])) if space]
                yield Declared(match[1], text(b".".join(spaces)), depth > len(opened))
        elif match[2]:
            whole_file = match[1]
        else:
            opened.append((match[1], depth))
