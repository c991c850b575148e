"""Which build of repoloom this is: pool and worker must be of one, for only then equal tasks have equal bytes."""

import functools
import hashlib
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import repoloom
from repoloom.errors import InputError

NAME = "REPOLOOM_BUILD"
_SHAPERS = ("numba", "numpy", "pyarrow", "tokenizers", "tree-sitter", "tree-sitter-language-pack", "zstandard")
"""The libraries whose releases may write other bytes for the same rows, or judge a file otherwise."""


@functools.cache
def build() -> str:
    """What REPOLOOM_BUILD says (an image's digest, so that others can tell the queue's name), or a fingerprint.

    The fingerprint is the hash of repoloom's sources, of the libraries that shape bytes, Python and the machine's kind.
    It is part of the queues' names, not of the messages: a worker of another build never takes a message that it would
    have to refuse, so that while one release replaces another no message goes round in circles.
    """
    if name := os.environ.get(NAME):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
            raise InputError(f"{NAME} must be 1 to 80 letters, digits, '-' or '_'")
        return name
    digest = hashlib.sha256()
    surroundings = [platform.python_version(), platform.machine(), *(f"{name} {version(name)}" for name in _SHAPERS)]
    digest.update("\n".join(surroundings).encode())
    folder = Path(repoloom.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"\0{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
