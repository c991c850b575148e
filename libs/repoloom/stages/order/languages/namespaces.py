"""Types by the namespaces or packages they are declared in, and which of them a file uses by their simple names."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from repoloom.stages.order.languages.lexing import Lines, first_uses, text
from repoloom.stages.order.languages.rules import Edge, Scan
from repoloom.stages.order.tree import Nearest

_NONE: frozenset[bytes] = frozenset()


class Namespaces:
    """Of a type that several files declare, the file nearest to the asking one stands for all."""

    def __init__(self, scans: Mapping[str, Scan]) -> None:
        self._types = Nearest()
        self._names: dict[str, set[bytes]] = defaultdict(set)
        for path, scan in scans.items():
            for declared in scan.declared:
                if not declared.nested:
                    self._types.add(f"{declared.namespace}.{text(declared.name)}", path)
                    self._names[declared.namespace].add(declared.name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def find(self, name: str, importer: str) -> str | None:
        """The file that declares the type of a full name."""
        return self._types.find(name, importer)

    def used(self, importer: str, code: bytes, heads: Collection[bytes], visible: Mapping[str, str]) -> Iterator[Edge]:
        """The types that a file uses by their simple names, given the heads of its code.

        `visible` says for each namespace that the file sees how it does; of those that have a name, the first counts.
        """
        namespaces: dict[bytes, str] = {}
        for namespace in visible:
            for name in self._names.get(namespace, _NONE).intersection(heads):
                namespaces.setdefault(name, namespace)
        lines = Lines(code)
        for position, name in first_uses(code, namespaces):
            namespace = namespaces[name]
            if path := self.find(f"{namespace}.{text(name)}", importer):
                yield Edge(importer, path, lines.at(position), visible[namespace])
