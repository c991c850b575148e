"""Go: imported packages, found by their modules, and the names that a file uses of its own package's other files."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from repoloom.stages.order.languages.lexing import (
    BACKQUOTED,
    COMMENT,
    DOUBLE_QUOTED,
    SINGLE_QUOTED,
    Lines,
    blank,
    first_uses,
    heads,
    text,
)
from repoloom.stages.order.languages.rules import Declared, Edge, Import, Scan
from repoloom.stages.order.tree import Tree, ancestors, folder_of

LANGUAGES = frozenset({"Go"})

PACKAGE_FILES = 256
"""An import stands for at most so many files of its package, the first by path: a bound on a hostile tree's edges."""

_NOISE = re.compile(COMMENT + rb"|" + DOUBLE_QUOTED + rb"|" + BACKQUOTED + rb"|" + SINGLE_QUOTED, re.DOTALL)
_COMMENTS = re.compile(COMMENT, re.DOTALL)
# Imports come before it (Go specification, "Source file organization").
_FIRST_DECLARATION = re.compile(rb"\n(?:func|type|var|const)\b")
_PACKAGE = re.compile(rb"\npackage[ \t]++(\w++)")
_IMPORT = re.compile(rb"\n[ \t]*+import\b\s*+(?:\((?P<group>[^)]*+)|(?P<one>[^\n]*+))")
_PATH = re.compile(rb'"([^"\n]{1,1024}+)"|`([^`\n]{1,1024}+)`')
_DECLARED = re.compile(
    rb"\n(?:func[ \t]++(?P<function>\w++)"
    rb"|(?:type|var|const)[ \t]++(?:(?P<one>\w++)|\((?P<group>[^\n]*+(?:\n(?!\))[^\n]*+)*)))"
)
_IN_GROUP = re.compile(rb"\n\t(\w++(?:,[ \t]*+\w++)*)")
_MODULE = re.compile(rb"^\s*+module\s++\"?([^\s\"]++)", re.MULTILINE)


def scan(content: bytes) -> Scan:
    """Imports of the one kind "import", a package's path."""
    content = b"\n" + content  # every declaration follows a line break
    first = _FIRST_DECLARATION.search(content)
    header = blank(_COMMENTS, content[: first.start()] if first else content)
    package = _PACKAGE.search(header)
    lines = Lines(header)
    imports = [
        Import(text(path[1] or path[2]), lines.at(path.start()) - 1, "import")
        for found in _IMPORT.finditer(header)
        for path in _PATH.finditer(header, *found.span())
    ]
    code = blank(_NOISE, content)
    return Scan(imports, text(package[1]) if package else "", list(_declared(code)), code)


def _declared(code: bytes) -> Iterator[Declared]:
    """The names at package level, less those that no other file can use."""
    for found in _DECLARED.finditer(code):
        for names in _IN_GROUP.findall(found["group"]) if found["group"] else (found["function"] or found["one"],):
            for name in names.split(b","):
                if (name := name.strip()) not in (b"init", b"main", b"_"):
                    yield Declared(name)


class Index:
    """Packages by folder, modules by path, package-level names by package."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:
        self._packages: dict[str, list[str]] = defaultdict(list)
        self._names: dict[tuple[str, str], dict[bytes, str]] = defaultdict(dict)
        for path in sorted(scans):
            if path.endswith("_test.go"):
                continue
            self._packages[folder_of(path)].append(path)
            names = self._names[folder_of(path), scans[path].package]
            for declared in scans[path].declared:
                names.setdefault(declared.name, path)
        targets = {item.target for scan in scans.values() for item in scan.imports}
        modules = {
            text(found[1]): folder_of(path)
            for path in tree.named("go.mod")
            if (found := _MODULE.search(tree.read(path)))
        }
        self._modules = modules or self._inferred(targets)
        self._folders = {target: self._folder(target) for target in sorted(targets)}

    def _inferred(self, targets: Iterable[str]) -> dict[str, str]:
        """The module of a tree without go.mod: the prefix under which most of its folders are imported."""
        votes: Counter[str] = Counter()
        for path in targets:
            prefix, slash, folder = path.partition("/")
            while slash and "." in path.partition("/")[0]:
                if folder in self._packages:
                    votes[prefix] += 1
                head, slash, folder = folder.partition("/")
                prefix = f"{prefix}/{head}"
        best = max(votes.items(), key=lambda vote: (vote[1], vote[0]), default=None)
        return {best[0]: ""} if best else {}

    def _folder(self, target: str) -> str | None:
        """The folder of a package below the innermost module that has it."""
        module, inner = target, ""
        while module:
            if (folder := self._modules.get(module)) is not None:
                folder = "/".join(filter(None, (folder, inner)))
                if folder in self._packages:
                    return folder
            module, _, last = module.rpartition("/")
            inner = f"{last}/{inner}".rstrip("/")
        return None

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        for target, line, _ in scan.imports:
            folder = self._folders[target]
            if folder is None:
                folder = self._vendored(target, importer)
            if folder is not None:
                for path in self._packages[folder][:PACKAGE_FILES]:
                    yield Edge(importer, path, line, "package")
        yield from self._same_package(importer, scan)

    def _vendored(self, target: str, importer: str) -> str | None:
        for above in ancestors(importer) if "." in target.partition("/")[0] else ():
            folder = f"{above}/vendor/{target}".lstrip("/")
            if folder in self._packages:
                return folder
        return None

    def _same_package(self, importer: str, scan: Scan) -> Iterator[Edge]:
        names = self._names.get((folder_of(importer), scan.package))
        if not names:
            return
        own = {declared.name for declared in scan.declared}
        lines = Lines(scan.code)
        for position, name in first_uses(scan.code, [name for name in heads(scan.code) - own if name in names]):
            yield Edge(importer, names[name], lines.at(position) - 1, "same-package")
