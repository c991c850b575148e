"""One task: what it runs, what it reads, and the commit that says it is done."""

import functools
import hashlib
from collections.abc import Mapping
from enum import StrEnum

from pydantic import JsonValue

from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Part, Record, canonical_json


class Share(Record):
    """A task's parts of one table, and the dataset they lie in."""

    root: str  # address of the dataset
    parts: tuple[Part, ...]


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
        reads = {table: [part.sha256 for part in share.parts] for table, share in self.inputs.items()}
        identity = {"step": self.step, "version": self.version, "params": dict(self.params), "reads": reads}
        return hashlib.sha256(canonical_json(identity)).hexdigest()[:32]

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


class Cost(Record):
    """What a task took; no part of any digest."""

    seconds: float
    cpu_seconds: float
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
