"""The entry point of a program that serves."""

import typer

from repoloom.cli.ends import TOLD, code, said
from repoloom.processes import conceal


def enter(app: typer.Typer) -> None:
    """Runs a program, which ends on an error as `repoloom` does."""
    conceal()
    try:
        app()
    except TOLD as error:
        if (message := said(error)) is None:
            raise
        typer.echo(f"error: {message}", err=True)
        raise SystemExit(code(error)) from None
