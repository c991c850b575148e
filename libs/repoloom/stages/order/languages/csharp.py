"""C#: the types that a file uses of its own namespace, of those around it and of those it imports with `using`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.declared import types
from repoloom.stages.order.languages.lexing import (
    COMMENT,
    DOUBLE_QUOTED,
    SINGLE_QUOTED,
    Lines,
    blank,
    first_uses,
    heads,
    text,
)
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import Nearest, Tree

LANGUAGES = frozenset({"C#"})

_NOISE = re.compile(
    COMMENT
    + rb'|"""(?:[^"]++|"(?!""))*+(?:""")?'
    + rb'|@\$?"(?:[^"]++|"")*+"?|\$@"(?:[^"]++|"")*+"?|'  # verbatim: a backslash is a backslash
    + DOUBLE_QUOTED + rb"|" + SINGLE_QUOTED,
    re.DOTALL,
)  # fmt: skip
_USING = re.compile(
    rb"using(?<![\w.]using)\s++(?P<of_type>static\s++|\w++\s*+=\s*+)?(?:global::)?(?P<name>[\w.]++)\s*+(?:<[^;{]{0,200}+)?;"
)

_NONE: frozenset[bytes] = frozenset()


def scan(content: bytes) -> Scan:
    """Kinds: "using" (a namespace), "using-type" (static or alias)."""
    code = blank(_NOISE, content)
    lines = Lines(code)
    imports = [
        Import(text(found["name"]), lines.at(found.start()), "using-type" if found["of_type"] else "using")
        for found in _USING.finditer(code)
    ]
    return Scan(imports, declared=list(types(code)), code=code)


class Index:
    """Types by full name and by namespace. Of a partial type, the file nearest to the asking one stands for all."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:  # noqa: ARG002
        self._types = Nearest()
        self._namespaces: dict[str, set[bytes]] = defaultdict(set)
        for path, scan in scans.items():
            for declared in scan.declared:
                if not declared.nested:
                    self._types.add(f"{declared.namespace}.{text(declared.name)}", path)
                    self._namespaces[declared.namespace].add(declared.name)

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        hidden = {declared.name for declared in scan.declared}
        visible = {"": "same-namespace"}
        for namespace in dict.fromkeys(declared.namespace for declared in scan.declared):
            visible |= dict.fromkeys(_and_around(namespace), "same-namespace")
        for name, line, kind in scan.imports:
            if kind == "using":
                visible.setdefault(name, "using")
            elif kind == "using-type" and (path := self._types.find(name, importer)):
                yield Edge(importer, path, line, "using")
        yield from self._used(importer, scan.code, visible, hidden)

    def _used(self, importer: str, code: bytes, visible: Mapping[str, str], hidden: set[bytes]) -> Iterator[Edge]:
        names = heads(code) - hidden
        namespaces: dict[bytes, str] = {}
        for namespace in visible:
            for name in names & self._namespaces.get(namespace, _NONE):
                namespaces.setdefault(name, namespace)
        lines = Lines(code)
        for position, name in first_uses(code, namespaces):
            namespace = namespaces[name]
            if path := self._types.find(f"{namespace}.{text(name)}", importer):
                yield Edge(importer, path, lines.at(position), visible[namespace])


def _and_around(namespace: str) -> Iterator[str]:
    """The namespaces whose types a file in one of them sees: `A.B`, `A` and the global one."""
    while namespace:
        yield namespace
        namespace = namespace.rpartition(".")[0]
    yield ""
