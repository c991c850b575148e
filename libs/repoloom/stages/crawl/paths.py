"""Names that others chose, made safe to store, to print and to compare."""

import re

from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.limits import Limits

_PLAIN = re.compile(rb"[ !-\[\]-~]*")  # printable ASCII without the backslash
_OUTSIDE_NAMES = re.compile(r"[^\w.@+~/-]")


def normalise(path: bytes) -> bytes:
    """Without the empty and `.` components that archives write (`./src//a.c`); a leading slash stays, to be refused."""
    if b"//" not in path and not path.startswith(b"./") and b"/./" not in path:
        return path
    root = b"/" if path.startswith(b"/") else b""
    return root + b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))


def refuse(path: bytes, limits: Limits) -> Refusal | None:
    """Why a path must not be stored; None where it may be.

    `.git` is refused as git itself refuses it (CVE-2014-9390): written out again, it would be a live repository.
    """
    parts = path.split(b"/")
    if len(path) > limits.max_path_bytes:
        return Refusal("unsafe_path", "the path is too long", len(path), limits.max_path_bytes)
    if len(parts) > limits.max_depth:
        return Refusal("unsafe_path", "the path is too deep", len(parts), limits.max_depth)
    if path.startswith(b"/"):
        return Refusal("unsafe_path", "the path is absolute")
    if b".." in parts:
        return Refusal("unsafe_path", "the path leaves its repository")
    if not parts[-1] or parts[-1] == b".":
        return Refusal("unsafe_path", "the path names no file")
    if b".git" in path.lower() and any(part.lower() == b".git" for part in parts):
        return Refusal("git_folder")
    return None


def printable(path: bytes) -> str:
    r"""One printable line for any bytes; no two paths give the same one.

    What is not UTF-8, not printable, or a backslash becomes `\xNN`.
    """
    if _PLAIN.fullmatch(path):
        return path.decode("ascii")
    return "".join(
        char if char.isprintable() and char != "\\" else "".join(f"\\x{byte:02x}" for byte in _encode(char))
        for char in path.decode("utf-8", "surrogateescape")
    )


def repository_name(name: str) -> str:
    """A name of letters, digits and `._@+~/-`, with no component that a file system or a URL would read as another.

    Anything else becomes %NN, as in a URL, so different names stay different.
    """
    escaped = _OUTSIDE_NAMES.sub(lambda match: "".join(f"%{byte:02X}" for byte in _encode(match[0])), name)
    return "/".join(
        part.replace(".", "%2E") if not part.strip(".") else part for part in escaped.strip("/").split("/") if part
    )


def _encode(char: str) -> bytes:
    return char.encode("utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass")
