"""What the services of one process share."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """What a service may use."""

    executor: Executor  # where steps run
    root: str  # the address below which all datasets of its callers lie
    benchmarks: Path | None = None  # a folder of benchmark files, which callers name
