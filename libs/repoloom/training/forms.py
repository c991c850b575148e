"""How a training spreads over processes, by name: what a command line and a manifest say."""

from enum import StrEnum

from repoloom.errors import InputError


class Parallel(StrEnum):
    """One process, or the ranks that torchrun starts, with a stage of ZeRO (arXiv 1910.02054)."""

    SINGLE = "single"
    ZERO1 = "zero1"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


def check_batches(batch_size: int, micro_batch_size: int, ranks: int) -> None:
    """Raises InputError where ranks would not have the same number of micro-batches."""
    if batch_size % (micro_batch_size * ranks):
        raise InputError(
            f"batch_size {batch_size} does not give {ranks} ranks the same number of micro-batches "
            f"of {micro_batch_size}; make it a multiple of {micro_batch_size * ranks}"
        )
