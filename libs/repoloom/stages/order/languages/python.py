"""Python: import statements, resolved among the packages and modules that the repository holds."""

import re
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.lexing import DOUBLE_QUOTED, SINGLE_QUOTED, TEXT_BLOCK, Lines, text
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import Nearest, Tree, ancestors, folder_of

LANGUAGES = frozenset({"Python"})

_GAP = rb"(?:[ \t\f]|\\\n|\\\r\n)"
_LINE = rb"(?:[^\n#;\\]++|\\\n|\\\r\n)*+"
_BASE = rb"(?P<dots>\.[. \t]*+)?(?P<base>(?:(?!import\b)[\w.\x80-\xff]++)?)"
_NAMES = rb"(?P<names>\((?:[^()#]++|#[^\n]*+)*+|" + _LINE + rb")"
_TOKEN = re.compile(
    rb"#[^\n]*+|" + TEXT_BLOCK + rb"|" + TEXT_BLOCK.replace(b'"', b"'")
    + rb"|" + DOUBLE_QUOTED + rb"|" + SINGLE_QUOTED
    + rb"|from(?<![\w.]from)\b" + _GAP + rb"*+" + _BASE + _GAP + rb"*+import\b" + _GAP + rb"*+" + _NAMES
    + rb"|import(?<![\w.]import)" + _GAP + rb"++(?P<modules>" + _LINE + rb")",
    re.DOTALL,
)  # fmt: skip
_COMMENT = re.compile(rb"#[^\n]*+")
_NAME = re.compile(rb"[\w.\x80-\xff]++|\*")

_SUFFIXES = ("/__init__.py", ".py", ".pyx", ".pyi", "/__init__.pyi")  # a package hides a module of its name
_ROOTS = frozenset({"", "src", "lib", "python"})
_ROOT_MARKS = ("setup.py", "setup.cfg", "pyproject.toml")


def scan(content: bytes) -> Scan:
    """Targets: `a.b` of kind "import"; `..a:name` of kind "from", one for each name."""
    return Scan(list(_imports(content)))


def _imports(content: bytes) -> Iterator[Import]:
    lines = Lines(content)
    for found in _TOKEN.finditer(content):
        if (modules := found["modules"]) is not None:
            line = lines.at(found.start())
            for module in _names(modules):
                yield Import(module, line, "import")
        elif (names := found["names"]) is not None:
            line = lines.at(found.start())
            base = "." * (found["dots"] or b"").count(b".") + text(found["base"])
            for name in _names(_COMMENT.sub(b"", names)):
                yield Import(f"{base}:{name}", line, "from")


def _names(clause: bytes) -> Iterator[str]:
    """The names of `a, b as c`, without what they are called here."""
    for item in clause.split(b","):
        if name := _NAME.search(item):
            yield text(name[0])


class Index:
    """Modules by every dotted name under which the repository imports them."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:
        self._tree = tree
        self._modules = Nearest()
        wanted = {name for scan in scans.values() for item in scan.imports for name in _candidates(item.target)}
        roots = {folder_of(path) for mark in _ROOT_MARKS for path in tree.named(mark)}
        roots |= {folder for folder in tree.folders if folder in _ROOTS or folder.rpartition("/")[2] in _ROOTS}
        for path in scans:
            self._file(path, wanted, roots)

    def _file(self, path: str, wanted: set[str], roots: set[str]) -> None:
        """Files a module under its name in each folder from which it can be imported: those above its packages."""
        module = path.rpartition(".")[0].removesuffix("/__init__")
        if self._module_at(module) != path:
            return
        for folder in ancestors(module):
            if f"{folder}/__init__.py".lstrip("/") in self._tree and folder:
                continue
            name = module.removeprefix(f"{folder}/" if folder else "").replace("/", ".")
            if name not in wanted:
                continue
            if "." in name or path.endswith("/__init__.py") or folder in roots:
                self._modules.add(name, path)
            else:  # a lone module is seen by the files beside and below it
                self._modules.add(f"{folder}:{name}", path)

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        for target, line, _ in scan.imports:
            if target.startswith("."):
                path, how = self._relative(importer, target), "relative"
            else:
                path, how = self._absolute(importer, target), "package"
            if path is not None:
                yield Edge(importer, path, line, how)

    def _relative(self, importer: str, target: str) -> str | None:
        base, _, name = target.partition(":")
        module = base.lstrip(".")
        folder = folder_of(importer)
        for _ in range(len(base) - len(module) - 1):
            if not folder:
                return None
            folder = folder_of(folder)
        for dotted in _candidates(f"{module}:{name}" if module else name):
            if path := self._module_at("/".join(filter(None, (folder, *dotted.split("."))))):
                return path
        return None if module or not folder else self._module_at(folder)

    def _absolute(self, importer: str, target: str) -> str | None:
        for name in _candidates(target):
            for folder in ancestors(importer) if "." not in name else ():
                if path := self._modules.find(f"{folder}:{name}", importer):
                    return path
            if path := self._modules.find(name, importer):
                return path
        return None

    def _module_at(self, stem: str) -> str | None:
        return next((stem + suffix for suffix in _SUFFIXES if stem + suffix in self._tree), None)


def _candidates(target: str) -> tuple[str, ...]:
    """The modules that `import a.b` or `from a import b` can mean, the likelier first."""
    base, _, name = target.partition(":")
    return (f"{base}.{name}", base) if name and name != "*" else (base,)
