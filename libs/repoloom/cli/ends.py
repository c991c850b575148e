"""How a program that fails ends: with one line of its error, and an exit code that tells whose fault it is."""

import errno
from typing import Any

import typer

from repoloom.cli.extras import lacks
from repoloom.cli.up import FOLDER
from repoloom.errors import InputError, RepoloomError, UnsetError

_ENV = FOLDER / "env"

_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EIO}
"""What the file system says of itself and its permissions, not of a mistake of ours."""

USAGE: Any = typer.BadParameter.__mro__[1]
"""What typer raises of the words of a command; of its kinds it exports one."""

TOLD = (RepoloomError, ModuleNotFoundError, OSError)
"""What may be told in a line; typer itself tells a usage, where it is not asked to raise it."""


def said(error: Exception) -> str | None:
    """An error in one line with a way out; nothing where the help was shown instead; None of a mistake of ours."""
    if isinstance(error, UnsetError) and _ENV.exists():
        return f"{error}, or `. {_ENV}` for the stack of `repoloom up`"
    if isinstance(error, ModuleNotFoundError):
        return lacks(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror}" if error.errno in _REFUSALS else None
    if isinstance(error, USAGE):
        message = error.format_message().removesuffix(".")
        return message and f"{message} (see `{error.ctx.command_path} --help`)"
    return str(error)


def code(error: Exception) -> int:
    """2 for what was given and cannot be used, 1 for what failed at work."""
    return 2 if isinstance(error, (InputError, USAGE)) else 1
