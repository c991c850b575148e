"""dedup.numbers: powers of two, a part each, by which a plan tells a task a number.

A plan knows how many partitions the data needs and which of them a task is; a task knows nothing but the parts it is
given. So it is given those whose sum is the number.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from repoloom.corpus.manifest import Part
from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import NUMBERS

_BITS = 11  # of each number: MOST_PARTITIONS is the largest
_NAMES = ("partition", "partitions")


class Numbers(Step[DedupParams]):
    """One task that reads nothing: a part for each bit of each number."""

    name = "dedup.numbers"
    reads = ()
    writes = {"numbers": NUMBERS}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{}]

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:  # noqa: ARG002
        for name in _NAMES:
            for bit in range(_BITS):
                out.write("numbers", pa.RecordBatch.from_pylist([{"name": name, "value": 1 << bit}], NUMBERS))
                out.roll("numbers")


def spell(numbers: Sequence[Part], partition: int, partitions: int) -> list[Part]:
    """The parts of the table that say which of how many partitions a task is."""
    bits = partition | partitions << _BITS
    return [part for bit, part in enumerate(numbers) if bits >> bit & 1]


def read_numbers(reader: Reader) -> tuple[int, int]:
    """What was spelled: the partition, and how many there are."""
    said = dict.fromkeys(_NAMES, 0)
    for row in reader.table().to_pylist():
        said[row["name"]] += row["value"]
    return said["partition"], said["partitions"]
