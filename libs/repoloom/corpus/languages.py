"""Which language a file is written in: by its name, its `#!` line and, where a name is shared, its content."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from repoloom.corpus.language_content import BY_CONTENT
from repoloom.corpus.language_table import LANGUAGES, PROSE, Language
from repoloom.errors import InputError

__all__ = ["LANGUAGES", "PROSE", "Language", "by_name", "detect"]

HEAD_BYTES = 16 * 1024
"""As much of a file as is looked at: past the licence comment of a header, and a bound on the work for each file."""


def by_name(name: str) -> Language:
    """The language of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise InputError(
            f"no language is called {name!r}; names are as in the paper's Table 1, e.g. 'C++', 'Python'"
        ) from None


def detect(path: str, head: bytes) -> Language | None:
    """The language of a file, or None where it is none of ours.

    Args:
        path: POSIX path; only its last component counts.
        head: the file's first bytes (all of it will do; no more than `HEAD_BYTES` are read).
    """
    name = path.rpartition("/")[2]
    if language := _BY_FILENAME.get(name):
        return language
    if name.startswith("Dockerfile."):  # Dockerfile.dev, Dockerfile.alpine
        return _BY_NAME["Dockerfile"]
    lower = name.lower()
    dot = lower.find(".")
    while dot >= 0:  # the longest extension first: .coffee.md before .md
        extension = lower[dot:]
        if extension in BY_CONTENT:
            interpreter = _by_shebang(head)
            return interpreter if interpreter and extension in interpreter.extensions else _by_content(extension, head)
        if language := _BY_EXTENSION.get(extension):
            return language
        dot = lower.find(".", dot + 1)
    return _by_shebang(head)


def _by_shebang(head: bytes) -> Language | None:
    found = _SHEBANG.match(head[:256])
    return _BY_INTERPRETER.get(found[1].decode("ascii")) if found else None


def _by_content(extension: str, head: bytes) -> Language | None:
    head = b"\n" + head[:HEAD_BYTES]  # so that each line, the first too, begins after a line break
    for name, pattern in BY_CONTENT[extension]:
        if pattern.search(head):
            return _BY_NAME[name] if name else None
    return None


def _index(kind: str, languages: Iterable[Language]) -> Mapping[str, Language]:
    """Each extension, file name or interpreter that only one language has."""
    claims: dict[str, list[Language]] = defaultdict(list)
    for language in languages:
        for key in getattr(language, kind):
            claims[key].append(language)
    return {key: claimants[0] for key, claimants in claims.items() if len(claimants) == 1}


_SHEBANG = re.compile(
    rb"#![ \t]*(?:\S*/)?"
    rb"(?:env[ \t]+(?:(?:-\S+|\w+=\S*)[ \t]+)*(?:\S*/)?)?"  # env -S NAME=value python3
    rb"([A-Za-z][A-Za-z_-]*)[\d.]*(?!\S)"
)

_BY_NAME = {language.name: language for language in (*LANGUAGES, *PROSE)}
_BY_FILENAME = _index("filenames", _BY_NAME.values())
_BY_EXTENSION = _index("extensions", _BY_NAME.values())
_BY_INTERPRETER = _index("interpreters", _BY_NAME.values())
