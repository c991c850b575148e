"""JavaScript and TypeScript: imports, re-exports and require, resolved as tsc and bundlers do."""

import re
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.ecmascript_packages import Aliases, Packages
from repoloom.stages.order.languages.lexing import (
    BACKQUOTED,
    COMMENT,
    DOUBLE_QUOTED,
    SINGLE_QUOTED,
    Lines,
    line_breaks,
    text,
)
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import Tree, folder_of, join

LANGUAGES = frozenset({"JavaScript", "TypeScript"})

# A regular expression, told from a division by what stands before it.
_REGEX = (
    rb"/(?:(?<=[=(,:;!&|?{}\[\n]/)|(?<=[=(,:;!&|?{}\[] /)|(?<=return /))"
    rb"(?:[^/\\\n\[]++|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n]){0,256}+\])+/"
)
_TOKEN = re.compile(b"|".join((COMMENT, _REGEX, DOUBLE_QUOTED, SINGLE_QUOTED, BACKQUOTED)), re.DOTALL)
_SPECIFIER = re.compile(rb"""["'][^\s"'\\]{1,1024}["']\Z""")

_NAME = rb"[\w$\x80-\xff]++"
_TYPE = rb"(?:type\b(?!\s*+(?:from|,))\s*+)?"
_NAMES = rb"(?:\*(?:\s*+as\s++" + _NAME + rb")?|\{[^{}]*+\})\s*+"
_BINDINGS = rb"(?:" + _NAME + rb"\s*+,?\s*+)?(?:" + _NAMES + rb")?"


def _quoted(kind: bytes) -> bytes:
    return rb"""\s*+["'](?P<""" + kind + rb""">[^"'\n]++)["']"""


_IMPORT = re.compile(
    rb"import(?<![\w$.]import)(?:\s*+" + _TYPE + rb"(?!from\b)" + _BINDINGS + rb"from)?" + _quoted(b"imported")
    + rb"|import(?<![\w$.]import)\s*+\(" + _quoted(b"dynamic")
    + rb"|export(?<![\w$.]export)\s*+(?:type\b\s*+)?" + _NAMES + rb"from" + _quoted(b"exported")
    + rb"|require(?<![\w$.]require)\s*+\(" + _quoted(b"required") + rb"\s*+[,)]"
)  # fmt: skip
_REFERENCE = re.compile(rb"""^///[ \t]*+<reference[ \t]++path[ \t]*+=[ \t]*+["']([^"'\n]++)["']""", re.MULTILINE)

_TYPED = (".ts", ".tsx", ".d.ts")
_ENDINGS = (*_TYPED, ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".json", ".vue", ".svelte")
_WRITTEN_FOR = {  # a specifier names the output; the tree holds the source (TypeScript handbook, "module resolution")
    ".js": (*_TYPED, ".js", ".jsx"),
    ".jsx": (".tsx", ".d.ts", ".jsx"),
    ".mjs": (".mts", ".d.mts", ".mjs"),
    ".cjs": (".cts", ".d.cts", ".cjs"),
}


def scan(content: bytes) -> Scan:
    """Targets as written; kinds "imported", "dynamic", "exported", "required" and "reference"."""
    return Scan(list(_imports(content)))


def _imports(content: bytes) -> Iterator[Import]:
    if b"<reference" in content:
        lines = Lines(content)
        for found in _REFERENCE.finditer(content):
            yield Import(text(found[1]), lines.at(found.start()), "reference")
    if b"import" not in content and b"require" not in content and b"export" not in content:
        return
    code = _TOKEN.sub(_keep_specifiers, content)
    lines = Lines(code)
    for found in _IMPORT.finditer(code):
        kind = str(found.lastgroup)
        yield Import(text(found[kind]), lines.at(found.start()), kind)


def _keep_specifiers(found: re.Match[bytes]) -> bytes:
    token = found[0]
    return token if _SPECIFIER.match(token) else line_breaks(found)


class Index:
    """Files by path, packages by name, aliases by folder."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:  # noqa: ARG002
        self._tree = tree
        self._packages = Packages(tree)
        self._aliases = Aliases(tree)

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        for written, line, kind in scan.imports:
            target = written.partition("?")[0]  # bundlers: `./worker.js?url`
            if kind == "reference" or target.startswith(("./", "../")) or target in (".", ".."):
                stem, how = join(folder_of(importer), target), "relative"
                path = None if stem is None else self._file(stem)
            else:
                path, how = self._bare(importer, target)
            if path is not None:
                yield Edge(importer, path, line, how)

    def _bare(self, importer: str, target: str) -> tuple[str | None, str]:
        for stem in self._aliases.stems(importer, target):
            if path := self._file(stem):
                return path, "tsconfig-paths"
        for stem in self._packages.stems(importer, target):
            if path := stem if stem in self._tree else self._file(stem):
                return path, "package"
        return None, ""

    def _file(self, stem: str) -> str | None:
        """The file that a path means, which may lack its ending, name the output, or be a folder."""
        for ending, sources in _WRITTEN_FOR.items():
            if stem.endswith(ending):
                for source in sources:
                    if (path := stem.removesuffix(ending) + source) in self._tree:
                        return path
        for ending in ("", *_ENDINGS):
            if (path := stem + ending) in self._tree:
                return path
        if stem and stem not in self._tree.folders:
            return None
        for entry in self._packages.entries(stem):
            for ending in ("", *_ENDINGS):
                if (path := entry + ending) in self._tree:
                    return path
        prefix = f"{stem}/" if stem else ""
        return next((path for ending in _ENDINGS if (path := f"{prefix}index{ending}") in self._tree), None)
