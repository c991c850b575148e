"""A real corpus for benchmarks, from what every installation has: the installed packages and the standard library."""

import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".cuh", ".js", ".ts", ".java", ".go", ".rs", ".sh", ".md")
LARGE = 4 << 20  # a folder with more source is a folder of repositories


def build(target: Path, size: int) -> int:
    """Copies packages into `target`, a folder each, until `size` bytes of source are there; returns the bytes.

    Ends the program where the machine has less.
    """
    shutil.rmtree(target, ignore_errors=True)
    total = 0
    for number, (root, files) in enumerate(_repositories()):
        for file in files:
            copy = target / f"{number:04}-{root.name}" / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            total += copy.stat().st_size
        if total >= size:
            return total
    raise SystemExit(f"the Python packages here hold {total >> 20} MiB of source, the benchmark wants {size >> 20} MiB")


def _repositories() -> Iterator[tuple[Path, list[Path]]]:
    for place in ("purelib", "stdlib"):
        yield from _below(Path(sysconfig.get_path(place)))


def _below(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.is_symlink() or child.name in ("site-packages", "__pycache__"):
            continue
        files = [
            Path(parent, name)
            for parent, _, names in sorted(os.walk(child))
            for name in sorted(names)
            if name.endswith(SUFFIXES)
        ]
        if sum(file.stat().st_size for file in files) > LARGE:
            yield from _below(child)
        elif files:
            yield child, files
