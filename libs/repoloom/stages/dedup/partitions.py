"""The partitions: runs of the signatures' parts, and the numbers that repositories have within them.

A repository's id is its partition in the upper 32 bits and its row within the partition in the lower ones, so that
whoever has the id knows where its sketch lies. Ids ascend in the order of the documents.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from repoloom.corpus.manifest import Part
from repoloom.errors import CorruptDataError

Ids = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

MOST_PARTITIONS: Final = 1024
"""Beyond it partitions grow with the data: parts between two steps are up to the square of it."""

_ROW_BITS: Final = np.uint64(32)
_ROW: Final = np.uint64(0xFFFFFFFF)


def cut(signatures: Sequence[Part], task_bytes: int) -> list[list[Part]]:
    """Partitions of `task_bytes` each, of more where they would be more than MOST_PARTITIONS; a part is never cut."""
    width = max(task_bytes, -(-sum(part.bytes for part in signatures) // MOST_PARTITIONS))
    ends = itertools.accumulate(part.bytes for part in signatures)
    places = (((end - 1) // width, part) for end, part in zip(ends, signatures, strict=True))
    return [[part for _, part in run] for _, run in itertools.groupby(places, key=lambda place: place[0])]


def residents(signatures: Sequence[Part], places: Sequence[Part]) -> Iterator[tuple[Part, ...]]:
    """The signatures' parts of each partition, which `places` tell apart: a part for each, of as many rows.

    Raises CorruptDataError where the two tables are not of one run.
    """
    rest = iter(signatures)
    for place in places:
        rows, mine = 0, []
        while rows < place.rows and (part := next(rest, None)) is not None:
            mine.append(part)
            rows += part.rows
        if rows != place.rows:
            raise CorruptDataError("the partitions and the signatures are not of one run; run dedup.bands again")
        yield tuple(mine)


def ids_of(partition: int, start: int, stop: int) -> Ids:
    """The ids of the rows from `start` to `stop` of a partition."""
    return np.arange(start, stop, dtype=np.uint64) + np.uint64(partition << 32)


def partitions_of(ids: Ids) -> Indices:
    """The partition that each lies in."""
    return (ids >> _ROW_BITS).astype(np.int64)


def rows_of(ids: Ids) -> Indices:
    """The row of each within its partition."""
    return (ids & _ROW).astype(np.int64)


def distinct(one: Ids, other: Ids) -> tuple[Ids, Ids]:
    """The distinct pairs of two columns, in their order."""
    order = np.lexsort([other, one])
    one, other = one[order], other[order]
    new = np.ones(len(one), bool)
    new[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return one[new], other[new]
