"""What a person or a script reads: tables and lines on a terminal, JSON where --json asks for it, errors on stderr."""

import json
import os
import sys
from typing import Annotated, Any

import typer

from repoloom.errors import RepoloomError

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Workers = Annotated[
    int, typer.Option(min=1, max=1024, help="Worker processes. The result is the same with any number.")
]
CORES = os.cpu_count() or 1

QUARANTINED = 3
"""Exit code: all that could be done is done, and some tasks were given up."""


def print_json(value: Any) -> None:  # noqa: ANN401
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def show_error(error: RepoloomError) -> None:
    """An error as the person at the keyboard reads it."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(str(error)))


def bytes_text(size: float) -> str:
    """A size as people read it: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
