"""C#: the types that a file uses of its own namespace, of those around it and of those it imports with `using`."""

import re
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.declared import types
from repoloom.stages.order.languages.lexing import COMMENT, DOUBLE_QUOTED, SINGLE_QUOTED, Lines, blank, heads, text
from repoloom.stages.order.languages.namespaces import Namespaces
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import Tree

LANGUAGES = frozenset({"C#"})

_NOISE = re.compile(
    COMMENT
    + rb'|"""(?:[^"]++|"[^"]|""[^"])*+(?:"""|.*+)'
    + rb'|@\$?"(?:[^"]++|"")*+"?|\$@"(?:[^"]++|"")*+"?|'  # verbatim: a backslash is a backslash
    + DOUBLE_QUOTED + rb"|" + SINGLE_QUOTED,
    re.DOTALL,
)  # fmt: skip
_USING = re.compile(
    rb"using(?<![\w.]using)\s++(?P<of_type>static\s++|\w++\s*+=\s*+)?(?:global::)?(?P<name>[\w.]++)\s*+(?:<[^;{]{0,200}+)?;"
)


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
        self._types = Namespaces(scans)

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
        yield from self._types.used(importer, scan.code, heads(scan.code) - hidden, visible)


def _and_around(namespace: str) -> Iterator[str]:
    """The namespaces whose types a file in one of them sees: `A.B`, `A` and the global one."""
    while namespace:
        yield namespace
        namespace = namespace.rpartition(".")[0]
    yield ""
