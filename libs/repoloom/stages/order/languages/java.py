"""Java: import declarations, and the types that a file uses of its own package and of those it imports whole."""

import re
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.declared import types
from repoloom.stages.order.languages.lexing import (
    COMMENT,
    DOUBLE_QUOTED,
    SINGLE_QUOTED,
    TEXT_BLOCK,
    Lines,
    blank,
    heads,
    text,
)
from repoloom.stages.order.languages.namespaces import Namespaces
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import MAX_DEPTH, Tree

LANGUAGES = frozenset({"Java"})

_NOISE = re.compile(COMMENT + rb"|" + TEXT_BLOCK + rb"|" + DOUBLE_QUOTED + rb"|" + SINGLE_QUOTED, re.DOTALL)
_DECLARATION = re.compile(
    rb"package(?<![\w.$]package)\s++(?P<package>[\w.$\x80-\xff]++)\s*+;"
    rb"|import(?<![\w.$]import)\s++(?P<static>static\s++)?(?P<name>[\w.$\x80-\xff]++(?:\*)?)\s*+;"
)
_QUALIFIED = re.compile(rb"[a-z](?<![\w.$].)\w*+(?:\.[\w$]++){1,16}")


def scan(content: bytes) -> Scan:
    """Kinds: "import" and "static" (`a.b.C`, `a.b.*`)."""
    code = blank(_NOISE, content)
    brace = code.find(b"{")  # the package and the imports come before the first type
    lines = Lines(code)
    imports: list[Import] = []
    package, end = "", 0
    for found in _DECLARATION.finditer(code, 0, brace if brace >= 0 else len(code)):
        if found["package"]:
            package = text(found["package"])
        else:
            imports.append(
                Import(text(found["name"]), lines.at(found.start()), "static" if found["static"] else "import")
            )
        end = found.end()
    body = b"\n" * code.count(b"\n", 0, end) + code[end:]
    return Scan(imports, package, [declared._replace(namespace=package) for declared in types(body)], body)


class Index:
    """Top-level types by full name, and by package."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:  # noqa: ARG002
        self._types = Namespaces(scans)
        self._roots = {package.partition(".")[0].encode() for package in self._types}

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        hidden = {declared.name for declared in scan.declared}
        visible = {scan.package: "same-package"}
        for name, line, kind in scan.imports:
            if kind == "import" and name.endswith(".*"):
                visible.setdefault(name[:-2], "package")
            else:
                hidden.add(name.rpartition(".")[2].encode())
                if path := self._declaring(name.removesuffix(".*"), importer):
                    yield Edge(importer, path, line, "import")
        names = heads(scan.code) - hidden
        yield from self._types.used(importer, scan.code, names, visible)
        if names & self._roots:
            yield from self._qualified(importer, scan.code)

    def _declaring(self, name: str, importer: str) -> str | None:
        """The file of a type, of a type nested in it, or of its member."""
        for _ in range(MAX_DEPTH):
            if path := self._types.find(name, importer):
                return path
            name = name.rpartition(".")[0]
        return None

    def _qualified(self, importer: str, code: bytes) -> Iterator[Edge]:
        """The types that a file uses by their full names."""
        lines = Lines(code)
        for found in _QUALIFIED.finditer(code):
            if path := self._declaring(text(found[0]), importer):
                yield Edge(importer, path, lines.at(found.start()), "qualified")
