"""How a training spreads over processes, by name: what a command line and a manifest say."""

from enum import StrEnum


class Parallel(StrEnum):
    """One process, or the ranks that torchrun starts, with a stage of ZeRO (arXiv 1910.02054)."""

    SINGLE = "single"
    ZERO1 = "zero1"
    ZERO2 = "zero2"
    ZERO3 = "zero3"
