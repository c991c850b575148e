"""What the services of one process share."""

from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from repoloom.rpc.room import Room

HELD_BYTES = 1 << 30
"""Of rows and texts that all calls work on: four repositories of the most that a stream may hold of one."""


def _room() -> Room:
    return Room(everyone=HELD_BYTES, each=HELD_BYTES)


@dataclass(frozen=True)
class Resources:
    """What a service may use."""

    executor: Executor  # where steps run
    root: str  # the address below which all datasets of its callers lie
    benchmarks: Path | None = None  # a folder of benchmark files, which callers name
    room: Room = field(default_factory=_room)  # for what calls hold
