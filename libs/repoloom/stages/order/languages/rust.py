"""Rust: module declarations, use trees and paths from `crate` or `super`, resolved by where modules lie."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repoloom.stages.order.languages.lexing import COMMENT, Lines, blank, text
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import MAX_DEPTH, Nearest, Tree, folder_of

LANGUAGES = frozenset({"Rust"})

_NOISE = re.compile(
    COMMENT
    + rb'|r(?<![ac-zA-Z0-9_]r)(?P<fence>#{0,8}+)"(?:.*?"(?P=fence)|.*+)'  # may follow the b of a byte string
    + rb'|"(?:[^"\\]++|\\.)*+"?'
    + rb"|'(?:[^'\\\n]{1,4}+|\\[^\n']{1,10}+|\\')'",  # a lifetime has no closing quote
    re.DOTALL,
)  # fmt: skip
_TIE = re.compile(
    rb"mod(?<!\wmod)\s++(?P<child>\w++)\s*+;"
    rb"|use(?<!\wuse)\s++(?P<tree>[^;]++)"
    rb"|crate(?<!\wcrate)(?P<absolute>(?:::\w++)+)"
    rb"|super(?<!\wsuper)(?P<parent>(?:::\w++)+)"
)
_INDENT = 256  # as far back as the beginning of a line is looked for
_TREE_PART = re.compile(r"\bas\s+\w+|\w+|[{},]")
_ROOT_NAMES = frozenset({"lib.rs", "main.rs", "mod.rs", "build.rs"})
_ROOT_FOLDERS = frozenset({"tests", "examples", "benches", "bin"})


def scan(content: bytes) -> Scan:
    """Targets: paths as `crate::a::B`; kinds "mod" (a child's name) and "path"."""
    code = blank(_NOISE, content)
    return Scan(list(_imports(code)))


def _imports(code: bytes) -> Iterator[Import]:
    lines = Lines(code)
    for found in _TIE.finditer(code):
        line = lines.at(found.start())
        kind = found.lastgroup
        if kind == "child":
            yield Import(text(found["child"]), line, "mod")
            continue
        if kind == "tree":
            paths: Sequence[str] = list(_paths(text(found["tree"])))
        else:
            paths = [("crate" if kind == "absolute" else "super") + text(found[str(kind)])]
        begin = code.rfind(b"\n", max(found.start() - _INDENT, 0), found.start()) + 1
        inline = code[begin : begin + 1].isspace()
        for path in paths:
            # what is indented stands in a module within the file, whose parent is the file
            yield Import(path.removeprefix("super::") if inline and path.startswith("super::") else path, line, "path")


def _paths(tree: str) -> Iterator[str]:
    """The paths of a use tree: of `a::{b, c::D as E}` they are `a::b` and `a::c::D`."""
    current: list[str] = []
    opened: list[int] = []
    for part in _TREE_PART.findall(tree):
        if part == "{":
            opened.append(len(current))
        elif part in ("}", ","):
            base = opened[-1] if opened else 0
            if len(current) > base:
                yield "::".join(current)
            del current[base:]
            if part == "}" and opened:
                opened.pop()
        elif not part.startswith("as ") and len(current) < MAX_DEPTH:
            current.append(part)
    if current:
        yield "::".join(current)


class Index:
    """Modules by path, library crates by name."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:
        self._tree = tree
        self._crates = Nearest()
        for path in scans:
            if f"/{path}".endswith("/src/lib.rs"):
                self._crates.add(self._crate(folder_of(folder_of(path))), path)

    def _crate(self, folder: str) -> str:
        """What the library in a folder is called: by its manifest, else like the folder (Cargo's defaults)."""
        manifest = f"{folder}/Cargo.toml".lstrip("/")
        named = ""
        if manifest in self._tree:
            try:
                content: dict[str, Any] = tomllib.loads(text(self._tree.read(manifest)))
            except (tomllib.TOMLDecodeError, RecursionError):
                content = {}
            tables = [table for key in ("lib", "package") if isinstance(table := content.get(key), dict)]
            named = next((table["name"] for table in tables if isinstance(table.get("name"), str)), "")
        return (named or folder.rpartition("/")[2]).replace("-", "_")

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        for target, line, kind in scan.imports:
            segments = target.split("::")
            if kind == "mod":
                if path := self._child(importer, target):
                    yield Edge(importer, path, line, "mod")
            elif found := self._path(importer, segments):
                yield Edge(importer, found[0], line, found[1])

    def _path(self, importer: str, segments: Sequence[str]) -> tuple[str, str] | None:
        first, rest = segments[0], segments[1:]
        if first == "crate":
            return self._walk(self._root(importer), rest), "crate"
        if first in ("self", "super"):
            module: str | None = importer
            if first == "super":
                module = self._parent(importer)
            while rest and rest[0] == "super" and module:
                module, rest = self._parent(module), rest[1:]
            return (self._walk(module, rest), "relative") if module else None
        if self._child(importer, first):
            return self._walk(importer, segments), "relative"
        if library := self._crates.find(first, importer):
            return self._walk(library, rest), "workspace"
        return None

    def _walk(self, module: str, segments: Sequence[str]) -> str:
        """The innermost module file on a path; what follows it are items."""
        for segment in segments:
            child = self._child(module, segment)
            if child is None:
                break
            module = child
        return module

    def _child(self, module: str, name: str) -> str | None:
        folder = folder_of(module) if _is_root(module) else module.removesuffix(".rs")
        stem = f"{folder}/{name}".lstrip("/")
        return next((path for path in (f"{stem}.rs", f"{stem}/mod.rs") if path in self._tree), None)

    def _parent(self, module: str) -> str | None:
        folder, _, name = module.rpartition("/")
        if name != "mod.rs" and _is_root(module):
            return None
        if name == "mod.rs":
            folder = folder_of(folder)
        candidates = (f"{folder}.rs", *(f"{folder}/{root}".lstrip("/") for root in ("mod.rs", "lib.rs", "main.rs")))
        return next((path for path in candidates if path in self._tree and path != module), None)

    def _root(self, module: str) -> str:
        for _ in range(MAX_DEPTH):
            parent = self._parent(module)
            if parent is None:
                break
            module = parent
        return module


def _is_root(module: str) -> bool:
    """Whether a file's child modules lie beside it: the roots of crates, and mod.rs."""
    folder, _, name = module.rpartition("/")
    return name in _ROOT_NAMES or folder.rpartition("/")[2] in _ROOT_FOLDERS
