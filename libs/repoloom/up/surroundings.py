"""The file `env` of a stack, which a shell sources, and what a command takes from it where no shell did."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from repoloom.engine.queue import REDIS_URL
from repoloom.engine.queue.build import NAME as BUILD
from repoloom.up.folder import Folder, write_private

SERVICES = "REPOLOOM_SERVICES"  # NAME=host:port, with commas between
UP = "REPOLOOM_UP"  # the folder of the stack that the variables are of
_SAYING = (REDIS_URL, SERVICES)


def write_env(folder: Folder, exports: Mapping[str, str]) -> None:
    """Writes the file."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    write_private(folder.env, "# For shells of this machine: . " + str(folder.env) + "\n" + "\n".join(lines) + "\n")


def read_env(folder: Folder) -> dict[str, str]:
    """What the file exports; nothing where no stack ever ran."""
    try:
        words = shlex.split(folder.env.read_text(encoding="utf-8"), comments=True)
    except FileNotFoundError:
        return {}
    return dict(word.split("=", 1) for word in words if word != "export")


def surroundings(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, and where it says nothing of Redis and services, what the stack in the folder says."""
    folder = Folder(path)
    if any(environment.get(name) for name in _SAYING) or folder.holder() is None:
        return dict(environment)
    return {**environment, **read_env(folder)}


def without_stack(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the file of a stack put there: a shell that sourced it starts the stack anew."""
    if UP not in environment:
        return dict(environment)
    of_stack = read_env(Folder(Path(environment[UP]))).keys() - {BUILD}  # which is what somebody set before
    return {name: value for name, value in environment.items() if name not in of_stack}
