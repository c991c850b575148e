"""What a step is: a pure function from tables to tables, cut into tasks by its input alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from repoloom.corpus.manifest import Part
from repoloom.corpus.parts import sizes_of

Shares: TypeAlias = Mapping[str, Sequence[Part]]
"""For each table that a task reads, the parts of it that are the task's."""


class Params(BaseModel):
    """Parameters of a step: their defaults are the paper's, and they are part of every task's key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


P = TypeVar("P", bound=Params)


class Reader(Protocol):
    """One task's share of a table."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in order, a few MiB at a time; of the named columns only those that the table has."""
        ...

    def repositories(self) -> Iterator[pa.Table]:
        """The rows of one repository at a time (a table's rows of one repository are contiguous)."""
        ...

    def table(self) -> pa.Table:
        """All rows at once: for side tables that are small by construction."""
        ...

    def blobs(self) -> Iterator[bytes]:
        """The parts' raw bytes, for tables written by `Sink.blob`."""
        ...


class Sink(Protocol):
    """Where one task writes its tables. Nothing is visible to anyone before the whole task is committed."""

    def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
        """Appends rows, which must have the schema that the step declares for the table."""
        ...

    def blob(self, table: str, name: str, content: bytes | memoryview, rows: int) -> None:
        """Adds one raw part (a token shard) that counts as `rows` rows; `name` is unique in the task and table."""
        ...

    def roll(self, table: str) -> None:
        """Ends the current part of a table; the next rows begin a new one."""
        ...

    def enter(self, files: int, size: int) -> None:
        """Counts files (and their bytes) that enter the ledger here, for a step that reads no table: the crawl."""
        ...


@dataclass(frozen=True)
class Accounts:
    """Which tables the ledger balances: what enters = what is kept + what `dropped` holds, in files and bytes."""

    entering: str | None  # None: the step counts by Sink.enter
    kept: tuple[str, ...]


class Queue(StrEnum):
    """What kind of worker a step's tasks need."""

    CPU = "cpu"
    HIGHMEM = "highmem"


class Step(ABC, Generic[P]):
    """One step of a stage.

    A subclass says what it reads and writes and gives `run`; the engine alone plans, retries, counts and commits.
    `run` must be a pure function of its inputs and parameters: no clock, no environment, no unseeded randomness,
    no order that depends on a hash seed. Same inputs, same parameters: the same bytes.
    """

    name: ClassVar[str]  # "<stage>" or "<stage>.<step>": stages/<stage>/ lists it in STEPS
    version: ClassVar[int] = 1  # raised when the output for the same input changes
    reads: ClassVar[tuple[str, ...]]  # tables; tasks share out the parts of the first one
    writes: ClassVar[Mapping[str, pa.Schema | None]]  # None: raw parts written by Sink.blob
    accounts: ClassVar[Accounts | None] = None
    queue: ClassVar[Queue] = Queue.CPU

    def __init__(self, params: P) -> None:
        self.params = params

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:
        """The tasks, each with its shares of the tables.

        By default one for each run of parts of the first table that comes to `task_bytes` (stored bytes), with all
        parts of the other tables.
        """
        first, *sides = self.reads
        return share_out(tables[first], first, task_bytes, {side: tables[side] for side in sides})

    @abstractmethod
    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        """Does one task."""


def share_out(parts: Sequence[Part], name: str, task_bytes: int, sides: Shares) -> Iterator[Shares]:
    """Consecutive parts up to `task_bytes` each (a single larger part is a task of its own), and all side tables."""
    start = filled = 0
    for at, size in enumerate(sizes_of(parts)):
        if at > start and filled + size > task_bytes:
            yield {name: parts[start:at], **sides}
            start, filled = at, 0
        filled += size
    if len(parts) > start:
        yield {name: parts[start:], **sides}
