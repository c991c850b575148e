"""A part of the stack: how it is started, where it is, and how one sees that it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """One process that is to be there."""

    name: str
    address: str  # host:port; of a worker, what it does
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # all of it; it holds secrets
    log: Path
    answers: Callable[[int], bool]  # given the process's id; takes seconds at most
    grace: float  # seconds between SIGTERM and SIGKILL
    metrics: str = ""  # host:port of /metrics
    feed: bytes = field(default=b"", repr=False)  # what it reads on stdin: a configuration with secrets
