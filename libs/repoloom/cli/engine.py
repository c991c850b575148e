"""Where tasks run: on this machine, or on Celery workers anywhere."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repoloom.cli.choices import one_of

if TYPE_CHECKING:
    from repoloom.engine.pool import Limits, Pool
    from repoloom.recipe.paths import Where


class Engine(StrEnum):
    """What does tasks."""

    LOCAL = "local"
    CELERY = "celery"


EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="local: worker processes here. celery: workers anywhere, over the Redis of REPOLOOM_REDIS_URL; "
        "they must see the same store.",
        **one_of(Engine),
    ),
]


def check_files(engine: Engine, stage: str, values: Mapping[str, Any], where: "Where") -> None:
    """Checks the files that a stage is told to read, as the tasks will find them. Raises InputError."""
    from repoloom.recipe.paths import check_paths, check_shared

    if engine is Engine.CELERY:
        check_shared(stage, values, where)
    check_paths(stage, values, where)


def open_pool(engine: Engine, workers: int, limits: "Limits") -> AbstractContextManager["Pool"]:
    """What does the tasks of a command. Raises InputError, UnavailableError where there is no Redis to be had."""
    if engine is Engine.LOCAL:
        from repoloom.engine.pool import LocalPool

        return LocalPool(workers, limits)
    from repoloom.engine.queue.broker import Broker
    from repoloom.engine.queue.pool import CeleryPool

    broker = Broker.take_from_environment(os.environ)
    broker.check()  # who typed the command had better hear of a wrong address now than when patience ends
    return CeleryPool(broker, limits)
