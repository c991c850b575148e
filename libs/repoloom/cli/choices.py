"""Words that the shell completes, and those out of a fixed set: the help lists it, an error names the nearest."""

import contextlib
from collections.abc import Iterable
from typing import Any, TypeVar

import typer

from repoloom.errors import RepoloomError
from repoloom.text import none_of

W = TypeVar("W", bound=str)


def one_of(words: Iterable[W], name: str = "") -> dict[str, Any]:
    """What `typer.Option` or `typer.Argument` is told of a set, for which a name stands where the set is long."""
    known = {str(word): word for word in words}

    def parse(given: str) -> W:
        if given not in known:
            raise typer.BadParameter(none_of(given, known))
        return known[given]

    def completions(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return {"parser": parse, "autocompletion": completions, "metavar": name or f"[{'|'.join(known)}]"}


def silent() -> contextlib.suppress:
    """For what looks for completions: who presses Tab asks for words, and not why there are none."""
    return contextlib.suppress(RepoloomError, ModuleNotFoundError, OSError)
