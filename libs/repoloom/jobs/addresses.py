"""Which addresses a caller may name: those below the service's root, by the letter and by where links lead."""

import re
from pathlib import Path

from repoloom.errors import ForbiddenError

_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\%]")
"""Control characters, and what some server or proxy on the way may read as another character: \\ as /, %2e as a dot."""


def within(root: str, uri: str, field: str) -> str:
    """The address, in the form of the root's. Raises ForbiddenError unless it is the root or lies below it.

    No part of what follows the root may begin with a dot: neither "..", nor what stores and jobs keep for themselves.
    """
    root = _plain(root)
    address = _plain(uri)
    below = address.removeprefix(root)
    parts = below.split("/")[1:]
    allowed = address.startswith(root) and below[:1] in ("", "/")
    if not allowed or _REFUSED.search(address) or any(not part.strip() or part.startswith(".") for part in parts):
        raise ForbiddenError(f"{field}: {uri!r} is not below {root}, where this service's datasets lie")
    if "://" not in root and not contains(Path(root), Path(address)):
        raise ForbiddenError(f"{field}: {uri!r} leads out of {root} by a link")
    return address


def overlap(one: str, other: str) -> bool:
    """Whether one of two addresses is the other or lies below it, by the letter and by where links lead."""
    one, other = _plain(one), _plain(other)
    if "://" in one:
        return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
    first, second = Path(one or "/"), Path(other or "/")
    return contains(first, second) or contains(second, first)


def contains(folder: Path, path: Path) -> bool:
    """Whether a path, with every link followed, is a folder or lies below it."""
    return path.resolve().is_relative_to(folder.resolve())


def _plain(uri: str) -> str:
    return uri.removeprefix("file://").removesuffix("/")
