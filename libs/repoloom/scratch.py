"""Scratch space: local copies of what lies elsewhere. An error of it is told from one of where that lies."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repoloom.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Says of an error of the file system here that it is one of the scratch folder. Raises StoreError."""
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "any scratch folder"  # none that is tried may serve
        raise StoreError(
            f"cannot keep a local copy in {folder}: {error.strerror or error}; free some space there, "
            "or set TMPDIR to a larger folder"
        ) from error


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A new folder, gone with the block. Raises StoreError where there can be none."""
    with scratch_errors():
        made = tempfile.TemporaryDirectory(prefix=prefix)
    with made as folder:
        yield Path(folder)


def scratch_file(prefix: str) -> BinaryIO:
    """A new file without a name, so that even a killed process leaves none behind. It raises StoreError if written."""
    with scratch_errors(), tempfile.TemporaryFile(prefix=prefix) as made:
        return io.BufferedRandom(_Scratch(os.dup(made.fileno()), "r+b"))


def create_scratch(path: Path) -> BinaryIO:
    """A new file in a scratch folder. Made and written, it raises StoreError."""
    with scratch_errors():
        return io.BufferedWriter(_Scratch(path, "wb"))


class _Scratch(io.FileIO):
    def write(self, content: "ReadableBuffer") -> int:
        with scratch_errors():
            return super().write(content)
