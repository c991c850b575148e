"""The form that every language's rules have: what a file imports, and which files of the repository that means."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from repoloom.stages.order.tree import Tree


class Import(NamedTuple):
    """One thing that a file says of its ties to other files."""

    target: str  # as the language's rules write it, e.g. "..models:User", "./util.js", "sys/queue.h"
    line: int  # from 1
    kind: str  # a word of the language's rules, e.g. "import", "include", "package"


class Declared(NamedTuple):
    """A name that a file gives to others."""

    name: bytes
    namespace: str = ""  # what surrounds it, "" for none
    nested: bool = False  # inside a type, which hides it


class Scan(NamedTuple):
    """What the rules keep of a file; but for the imports, only for languages whose files share names without any."""

    imports: Sequence[Import]  # in the order of the text
    package: str = ""
    declared: Sequence[Declared] = ()
    code: bytes = b""  # the text without comments and strings, its lines kept


class Edge(NamedTuple):
    """A file needs another one."""

    importer: str
    imported: str
    line: int  # of the importer, from 1
    how: str  # what resolved it, e.g. "relative", "package", "include-path", "same-package"


class Resolver(Protocol):
    """One repository, prepared for resolving the imports of one language."""

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        """What a file needs of the repository; may name the file itself, or one file several times."""
        ...


class Rules(Protocol):
    """The form of every module in this package."""

    LANGUAGES: frozenset[str]

    @property
    def Index(self) -> Callable[[Tree, Mapping[str, Scan]], Resolver]:  # noqa: N802
        """Prepares a repository, given the scan of each file of the language by path."""
        ...

    def scan(self, content: bytes) -> Scan:
        """What a file imports. Takes any bytes, in time linear in them."""
        ...
