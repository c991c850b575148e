"""The commands and how they end: an error is one line, or one JSON object with --json, and an exit code."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Annotated, Any

import typer

from repoloom import __version__
from repoloom.cli import datasets, models, run, services, stages
from repoloom.cli.ends import TOLD, USAGE, code, said
from repoloom.cli.output import ShowWarnings, print_json_error, show_error

_HELP = """From git repositories to a trained and evaluated code model.

Start with `repoloom run RECIPE`: it crawls, filters, orders, deduplicates, tokenizes, trains, evaluates and reports,
and goes on where it was if it is stopped. Every stage is a command of its own too. Exit codes: 0 done; 1 something
failed at work; 2 what was given cannot be used: an argument, a file or address it names, a variable of the environment;
3 done, but some tasks are quarantined (`repoloom retry` runs them again); 130 stopped by Ctrl-C."""


class _Group(typer.core.TyperGroup):
    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        logger = logging.getLogger("repoloom")
        if not logger.handlers:
            logger.addHandler(ShowWarnings(logging.WARNING))
        words = sys.argv[1:] if args is None else args
        try:
            sys.exit(super().main(words, **{**kwargs, "standalone_mode": False}) or 0)
        except (*TOLD, USAGE) as error:
            if (message := said(error)) is None:
                raise
            if "--json" in words:  # which may not have been parsed
                print_json_error("UsageError" if isinstance(error, USAGE) else type(error).__name__, message)
            elif message:
                show_error(message)
            sys.exit(code(error))


app = typer.Typer(
    name="repoloom",
    cls=_Group,
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"repoloom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """See _HELP."""


run.add_to(app)
stages.add_to(app)
datasets.add_to(app)
models.add_to(app)
services.add_to(app)


def _add_commands_of_others() -> None:
    """Those of packages that stand above the command line, which the installed distribution names."""
    try:
        entry_points = distribution("repoloom").entry_points
    except PackageNotFoundError:  # run from its source, with nothing installed
        return
    for entry_point in entry_points.select(group="repoloom.commands"):
        entry_point.load()(app)


_add_commands_of_others()
