"""One task: what it runs, what it reads, and the commit that says it is done."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import Field, JsonValue

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Listing, Part, Record, canonical_json
from repoloom.corpus.parts import Parts, digest_of, listing_key, read_listing
from repoloom.corpus.reading import WAY_OUT
from repoloom.errors import CorruptDataError

_SPELLED_OUT = 64
"""Parts that a task names one by one (10 KiB of JSON). Of more it only says which lines of their list they are, or a
step that reads a table in full would send all of it along with each task."""


class Lines(Record):
    """Parts of a table that are named by the list that holds them."""

    table: str
    listing: Listing
    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    step: int = Field(ge=1)
    digest: str  # of the parts, as `digest_of` computes it


class Share(Record):
    """A task's parts of one table, and the dataset they lie in."""

    root: str  # address of the dataset
    parts: tuple[Part, ...] | Lines

    @classmethod
    def of(cls, dataset: Dataset, table: str, parts: Sequence[Part]) -> "Share":
        """A share as it is sent to a worker."""
        if not isinstance(parts, Parts) or len(parts) <= _SPELLED_OUT or parts.span.step < 1:
            return cls(root=dataset.uri, parts=tuple(parts))
        span = parts.span
        lines = Lines(
            table=table,
            listing=dataset.manifest.tables[table],
            start=span.start,
            stop=span.stop,
            step=span.step,
            digest=parts.digest,
        )
        return cls(root=dataset.uri, parts=lines)

    @property
    def digest(self) -> str:
        """What is read, wherever it lies: `digest_of` the parts."""
        return self.parts.digest if isinstance(self.parts, Lines) else digest_of(self.parts)

    @property
    def keys(self) -> tuple[str, ...]:
        """The objects that a person may want to look at: the parts, or the one that lists them."""
        if isinstance(self.parts, Lines):
            return (listing_key(self.parts.table, self.parts.listing.sha256),)
        return tuple(part.key for part in self.parts)

    def resolve(self) -> Sequence[Part]:
        """The parts. Raises CorruptDataError where the list is not the one that was meant."""
        lines = self.parts
        if not isinstance(lines, Lines):
            return lines
        parts = read_listing(self.root, lines.table, lines.listing)[lines.start : lines.stop : lines.step]
        if parts.digest != lines.digest:
            raise CorruptDataError(
                f"{self.root}/{self.keys[0]} holds other parts than the task was planned for; "
                + WAY_OUT.format(self.root)
            )
        return parts


class Task(Record):
    """Everything a worker needs: it can be sent as JSON to any process that sees the same stores."""

    step: str
    version: int
    params: Mapping[str, JsonValue]
    inputs: Mapping[str, Share]
    root: str  # address of the dataset it writes to

    @functools.cached_property
    def key(self) -> str:
        """The hash of step, version, parameters and the digests of what it reads: equal work has an equal key."""
        reads = {table: share.digest for table, share in self.inputs.items()}
        return task_key(work_digest(self.step, self.version, self.params), reads)

    @property
    def prefix(self) -> str:
        """Where its parts lie in the dataset."""
        return f"tasks/{self.key}"

    @property
    def commit_key(self) -> str:
        """The object whose presence says that the task is done."""
        return f"{self.prefix}/commit.json"

    @property
    def failures_key(self) -> str:
        """The object that counts its failures."""
        return f"failures/{self.key}.json"


def work_digest(step: str, version: int, params: Mapping[str, JsonValue]) -> bytes:
    """What all tasks of a step have in common."""
    return hashlib.sha256(canonical_json({"step": step, "version": version, "params": dict(params)})).digest()


def task_key(work: bytes, reads: Mapping[str, str]) -> str:
    """The key of a task, by `work_digest` and the digest of what it reads of each table: 32 hexadecimal digits."""
    lines = "".join(f"{table} {digest}\n" for table, digest in sorted(reads.items()))
    return hashlib.sha256(work + lines.encode()).hexdigest()[:32]


class Cost(Record):
    """What a task took; no part of any digest."""

    seconds: float
    cpu_seconds: float
    read_bytes: int = 0  # of its parts, as stored
    peak_memory: int  # bytes: of the worker since it began, and of its largest child


class Commit(Record):
    """The result of a task."""

    task: str
    tables: Mapping[str, tuple[Part, ...]]
    ledger: Ledger
    cost: Cost


class Kind(StrEnum):
    """How an attempt failed."""

    ERROR = "error"
    CRASH = "crash"
    KILLED = "killed"  # by a signal from outside, which says nothing of the task
    TIMEOUT = "timeout"
    MEMORY = "memory"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"  # it would be again: the task is given up at once


class Attempt(Record):
    """One failure of a task."""

    kind: Kind
    error: str
    at: str  # the repository the task had reached


class Failures(Record):
    """The failures of a task so far."""

    task: str
    inputs: Mapping[str, tuple[str, ...]]
    attempts: tuple[Attempt, ...] = ()
