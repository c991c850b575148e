"""The licence of a repository as an SPDX expression: what its metadata states, else what its files hold.

Licence texts are known by phrases that every copy of them holds, whatever its line breaks, names and years; the
expressions that metadata states are checked against SPDX's list, which `packaging` carries.
"""

import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_LICENSE_FILE = re.compile(
    r"(LICENSES/)?(UN)?(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)([-._].*)?|LICENSES/.*", re.IGNORECASE
)
_MAX_TEXT_BYTES = 128 << 10  # GPL-3.0 has 35 KiB
_HEAD_BYTES = 2 << 10
_HEADER = re.compile(rb"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]+)")
_IN_BRACKETS = re.compile(r"^\(([^()]*)\)$")
_WORDS = re.compile(r"[^a-z0-9]+")

_BSD = "redistribution and use in source and binary forms with or without modification are permitted provided that"
_MIT = "to deal in the software without restriction including without limitation the rights to use copy modify merge"
_ISC = "for any purpose with or without fee is hereby granted"
_NOTICE = "notice and this permission notice"

FINGERPRINTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("MIT", (_MIT, _NOTICE), ()),
    ("MIT-0", (_MIT,), (_NOTICE,)),
    ("ISC", (_ISC, "appear in all copies"), ()),
    ("0BSD", (_ISC,), ("appear in all copies",)),
    ("BSD-2-Clause", (_BSD,), ("endorse or promote", "acknowledgment", "acknowledgement")),
    ("BSD-3-Clause", (_BSD, "endorse or promote"), ("acknowledgment", "acknowledgement", "apache")),
    ("BSD-4-Clause", (_BSD, "endorse or promote", "all advertising materials mentioning features"), ()),
    ("Apache-2.0", ("apache license version 2 0",), ()),
    ("GPL-2.0-only", ("gnu general public license version 2 june 1991",), ()),
    ("GPL-3.0-only", ("gnu general public license version 3 29 june 2007",), ()),
    ("LGPL-2.1-only", ("gnu lesser general public license version 2 1 february 1999",), ()),
    ("LGPL-3.0-only", ("gnu lesser general public license version 3 29 june 2007",), ()),
    ("AGPL-3.0-only", ("gnu affero general public license version 3 19 november 2007",), ()),
    ("MPL-2.0", ("mozilla public license version 2 0",), ()),
    ("EPL-2.0", ("eclipse public license v 2 0",), ()),
    ("BSL-1.0", ("boost software license version 1 0",), ()),
    ("Zlib", ("altered source versions must be plainly marked as such and must not be misrepresented",), ()),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",), ()),
    ("CC0-1.0", ("cc0 1 0 universal",), ()),
    ("PSF-2.0", ("python software foundation license version 2",), ()),
    ("Artistic-2.0", ("the artistic license 2 0",), ()),
    ("PostgreSQL", ("for any purpose without fee and without a written agreement is hereby granted",), ()),
    ("Vim", ("vim license", "charityware"), ()),
    ("WTFPL", ("do what the fuck you want to public license",), ()),
)
"""SPDX identifier, phrases its text holds, phrases it does not; the text as lower-case words, one space between."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "zlib/libpng License": "Zlib",
}
"""Trove classifiers that name one licence ("BSD License" does not)."""

_DEBIAN = {
    "agpl-3": "AGPL-3.0-only",
    "agpl-3+": "AGPL-3.0-or-later",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2": "Artistic-2.0",
    "apache-2": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "expat": "MIT",
    "gpl-1+": "GPL-1.0-or-later",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-3": "LGPL-3.0-only",
    "lgpl-3+": "LGPL-3.0-or-later",
    "mpl-2": "MPL-2.0",
}
"""Debian's short names (copyright-format 1.0, 7.1) that SPDX writes otherwise."""


class Evidence:
    """What the files of one repository say of its licence, gathered as they pass."""

    def __init__(self) -> None:
        self._stated: dict[str, str] = {}  # path of the metadata -> expression
        self._texts: set[str] = set()
        self._packaging = ""
        self._headers: set[str] = set()

    def see(self, path: str, content: bytes) -> None:
        """Looks at one file."""
        if path in _METADATA:
            if expression := _METADATA[path](content):
                self._stated[path] = expression
        elif path == "debian/copyright":
            self._packaging = _debian(content)
        elif _LICENSE_FILE.fullmatch(path):
            self._texts.update(identify(content))
        elif header := _HEADER.search(content, 0, _HEAD_BYTES):
            self._headers.add(_canonical(header[1].decode()))

    def expression(self) -> str:
        """The SPDX expression, "" where nothing was found. Licences found apart all hold: AND joins them."""
        for path in _METADATA:
            if path in self._stated:
                return self._stated[path]
        return self._packaging or _all_of(self._texts) or _all_of(self._headers)


def identify(text: bytes) -> list[str]:
    """The SPDX identifiers of the licences whose text this is."""
    words = _WORDS.sub(" ", text[:_MAX_TEXT_BYTES].decode("utf-8", "replace").lower())
    return [
        name
        for name, present, absent in FINGERPRINTS
        if all(phrase in words for phrase in present) and not any(phrase in words for phrase in absent)
    ]


def _canonical(expression: str) -> str:
    """The expression in SPDX's spelling, "" where it is none."""
    try:
        expression = str(canonicalize_license_expression(" ".join(expression.split())))
        return _IN_BRACKETS.sub(r"\1", expression)
    except InvalidLicenseExpression:
        return ""


def _all_of(expressions: Iterable[str]) -> str:
    found = sorted(set(expressions) - {""})
    return " AND ".join(f"({each})" if " " in each and len(found) > 1 else each for each in found)


def _python(content: bytes) -> str:
    header = content.partition(b"\n\n")[0].decode("utf-8", "replace")
    fields = [line.partition(": ")[::2] for line in header.splitlines()]
    for name in ("License-Expression", "License"):
        for field, value in fields:
            if field == name and (expression := _canonical(value)):
                return expression
    classified = (value.rpartition(" :: ")[2] for field, value in fields if field == "Classifier")
    return _all_of(_CLASSIFIERS[name] for name in classified if name in _CLASSIFIERS)


def _json(content: bytes) -> str:
    """The package.json of npm and PHP's composer.json: a string, a list to choose from, or npm's old object."""
    try:
        package = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(package, dict):
        return ""
    stated: Any = package.get("license") or package.get("licenses")
    choices = stated if isinstance(stated, list) else [stated]
    names = [choice.get("type") if isinstance(choice, dict) else choice for choice in choices]
    return _canonical(" OR ".join(name for name in names if isinstance(name, str)))


def _toml(content: bytes) -> str:
    try:
        manifest = tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        return ""
    for table in ("project", "package"):  # of pyproject.toml, of Cargo.toml
        stated = manifest.get(table)
        stated = stated.get("license") if isinstance(stated, dict) else None
        if isinstance(stated, str):
            return _canonical(stated.replace("/", " OR "))  # "MIT/Apache-2.0" is Cargo's old spelling
    return ""


def _debian(content: bytes) -> str:
    """The licence of `Files: *` in a machine-readable debian/copyright."""
    for paragraph in re.split(r"\n\s*\n", content[:_MAX_TEXT_BYTES].decode("utf-8", "replace")):
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.MULTILINE) and (
            stated := re.search(r"^License:[ \t]*(\S.*)$", paragraph, re.MULTILINE)
        ):
            words = stated[1].replace(",", "").split()
            return _canonical(" ".join(_DEBIAN.get(re.sub(r"\.0(?=\+?$)", "", word.lower()), word) for word in words))
    return ""


_METADATA = {
    "PKG-INFO": _python,
    "package.json": _json,
    "Cargo.toml": _toml,
    "pyproject.toml": _toml,
    "composer.json": _json,
}
"""Readers of the metadata files that state a licence, the most authoritative first."""
