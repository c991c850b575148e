"""What is stored of a job: its request, its progress and its end."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints

from repoloom.corpus.manifest import Record
from repoloom.errors import RepoloomError
from repoloom.telemetry.redaction import redact

Address = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class EngineRequest(Record):
    """How tasks are to be cut and retried; 0 is the default."""

    task_bytes: int = Field(default=0, ge=0)
    attempts: int = Field(default=0, ge=0, le=100)


class LimitsRequest(Record):
    """What one attempt of a task is to be allowed; 0 is the default."""

    seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    memory_bytes: int = Field(default=0, ge=0)


class JobRequest(Record):
    """What a caller asks for."""

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    stage: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    inputs: Annotated[tuple[Address, ...], Field(max_length=64)] = ()
    output: Address
    parameters: Mapping[str, JsonValue] = {}
    engine: EngineRequest = EngineRequest()
    limits: LimitsRequest = LimitsRequest()


class Accepted(Record):
    """A request that was taken, and the entry that the job has in the book's lists."""

    request: JobRequest
    entry: str
    created: AwareDatetime


class Progress(Record):
    """Where a job stands. A runner writes it again and again, each time with another beat."""

    runner: str = ""  # the token of the runner that does the job; "" where one gave it back
    beat: int = 0
    step: str = ""
    steps: int = 0
    steps_done: int = 0
    tasks: int = 0
    done: int = 0
    quarantined: int = 0
    reused: int = 0
    per_second: float = 0.0  # tasks
    seconds_left: float | None = None
    redone: Mapping[str, int] = {}  # attempts of this runner beyond a task's first, by step
    given_up: Mapping[str, int] = {}  # tasks that this runner gave up, by step


class Made(Record):
    """A dataset that a job made."""

    uri: str
    step: str
    digest: str
    rows: Mapping[str, int]  # by table
    quarantined: int  # tasks


class Failure(Record):
    """Why a job failed."""

    error: str  # name of a class in repoloom.errors, "" for an error that is no word to a caller
    message: str

    @classmethod
    def of(cls, error: RepoloomError) -> "Failure":
        """The failure by an error, which is known by the nearest of its classes that every part of repoloom knows."""
        known = next(base for base in type(error).__mro__ if base.__module__ == RepoloomError.__module__)
        return cls(error=known.__name__, message=redact(str(error)))


class Outcome(StrEnum):
    """How a job ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class End(Record):
    """The end of a job."""

    outcome: Outcome
    ended: AwareDatetime
    progress: Progress = Progress()
    cancel_requested: bool = False
    datasets: tuple[Made, ...] = ()
    failure: Failure | None = None
