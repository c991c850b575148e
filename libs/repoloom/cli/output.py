"""What a person or a script reads: tables and lines on a terminal, JSON where --json asks for it, errors on stderr."""

import json
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repoloom.cores import cores
from repoloom.text import visible

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.text import Text

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON, for scripts. An error is then the last line of stderr, an object too: "
        '{"error": {"kind": "NotFoundError", "message": "…"}}.',
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, max=1024, help="Worker processes. The result is the same with any number.")
]
CORES = cores()

QUARANTINED = 3
"""Exit code: all that could be done is done, and some tasks were given up."""

STOPPED = 130
"""Exit code of a run that was asked to stop, as shells have it for Ctrl-C."""


def print_json(value: Any) -> None:  # noqa: ANN401
    """One JSON value on stdout, in ASCII: no name in it can command a terminal, and every encoding has it."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def safe(text: str, style: str = "") -> "Text":
    """Text of unknown origin on its line of a terminal: no control character acts, no markup is read."""
    from rich.text import Text

    return Text(visible(text, kept=""), style)


def show_parameters(model: "type[BaseModel]") -> None:
    """The parameters of a recipe's section, their defaults and what they are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Parameter", "Default", "What it is", box=None, header_style="bold")
    for name, field in model.model_fields.items():
        default = "(required)" if field.is_required() else str(field.get_default(call_default_factory=True))
        table.add_row(name, Text(default), Text(field.description or ""))
    Console().print(table)


def show_error(message: str) -> None:
    """An error as the person at the keyboard reads it."""
    _show("error: ", "bold red", message)


def print_json_error(kind: str, message: str) -> None:
    """The same as a script reads it: a JSON object on a line of stderr, in ASCII."""
    sys.stderr.write(json.dumps({"error": {"kind": kind, "message": message}}) + "\n")


class ShowWarnings(logging.Handler):
    """Shows a warning of the log as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        _show("warning: ", "bold yellow", record.getMessage())


def _show(kind: str, style: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text.assemble((kind, style), visible(message)))


def bytes_text(size: float) -> str:
    """A size as people read it: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
