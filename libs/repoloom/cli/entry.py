"""The entry point of a program that serves: an error is told in one line, and its exit code tells whose fault it is."""

import typer

from repoloom.cli.extras import lacks
from repoloom.errors import InputError, RepoloomError
from repoloom.processes import conceal


def enter(app: typer.Typer) -> None:
    """Runs a program: 2 for what it was given and cannot use, 1 for what fails at work, as `repoloom` does."""
    conceal()
    try:
        app()
    except (RepoloomError, ModuleNotFoundError) as error:
        said = lacks(error) if isinstance(error, ModuleNotFoundError) else str(error)
        if said is None:
            raise
        typer.echo(f"error: {said}", err=True)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
