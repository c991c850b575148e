"""The commands and how they end: an error of ours is one line and exit code 1, quarantined work is exit code 3."""

import errno
import logging
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Annotated

import typer

from repoloom import __version__
from repoloom.cli import datasets, models, run, services, stages
from repoloom.cli.extras import way_out
from repoloom.cli.output import ShowWarnings, show_error
from repoloom.cli.up import FOLDER
from repoloom.errors import RepoloomError, UnsetError

_HELP = """From git repositories to a trained and evaluated code model.

Start with `repoloom run RECIPE`: it crawls, filters, orders, deduplicates, tokenizes, trains, evaluates and reports,
and goes on where it was if it is stopped. Every stage is a command of its own too. Exit codes: 0 done; 1 an error,
said in one line; 2 wrong usage; 3 done, but some tasks are quarantined (`repoloom retry` runs them again)."""

_ENV = FOLDER / "env"

_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EIO}
"""What the file system says of itself and its permissions, not of a mistake of ours."""


class _Group(typer.core.TyperGroup):
    def main(self, *args: object, **kwargs: object) -> object:
        logger = logging.getLogger("repoloom")
        if not logger.handlers:
            logger.addHandler(ShowWarnings(logging.WARNING))
        try:
            return super().main(*args, **kwargs)  # type: ignore[arg-type]
        except RepoloomError as error:
            here = isinstance(error, UnsetError) and _ENV.exists()
            show_error(f"{error}, or `. {_ENV}` for the stack of `repoloom up`" if here else str(error))
            sys.exit(1)
        except ModuleNotFoundError as error:
            if (command := way_out(error)) is None:
                raise
            show_error(f"this needs {error.name}, which is not installed: {command}")
            sys.exit(1)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            show_error(f"{error.filename or 'input or output'}: {error.strerror}")
            sys.exit(1)


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
