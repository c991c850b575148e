"""How a long work says that it gets on."""

from collections.abc import Callable
from typing import TypeAlias

Heartbeat: TypeAlias = Callable[[], None]
"""Is called for each piece of a long work, so that whoever waits for it sees that it gets on."""


def unheard() -> None:
    """The heartbeat of a work that nobody waits for."""
