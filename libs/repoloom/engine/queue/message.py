"""What travels: a task to a worker, and how it ended back to the pool. Both are JSON, both are checked on arrival."""

import json
from typing import Self

from pydantic import Field, ValidationError, model_validator

from repoloom.corpus.manifest import Record
from repoloom.engine.pool import Limits
from repoloom.engine.step import Queue
from repoloom.engine.task import Attempt, Task
from repoloom.errors import InputError

_AROUND = 4096
"""Bytes that Celery writes around a text, and more: names of hosts and queues, ids."""


class TraceContext(Record):
    """The trace that a task is part of (W3C Trace Context)."""

    traceparent: str = Field(default="", max_length=100)
    tracestate: str = Field(default="", max_length=512)


class Envelope(Record):
    """A task on its way to a worker."""

    run: str = Field(pattern=r"^[0-9a-f]{32}$")
    queue: Queue
    number: int = Field(ge=1)  # its place among all messages that the queue was ever given
    limits: Limits
    task: Task
    trace: TraceContext = TraceContext()

    @classmethod
    def parse(cls, text: object) -> Self:
        """The envelope that a message holds. Raises InputError, which quotes nothing of the message."""
        if not isinstance(text, str):
            raise InputError("it is no text")
        try:
            return cls.model_validate_json(text)
        except (ValidationError, RecursionError) as error:
            raise InputError(f"it is no task: {_where(error)}") from None


class Hint(Record):
    """How an attempt ended. Neither attempt nor fatal: it says that the task is committed, which the store knows."""

    task: str
    attempt: Attempt | None = None
    fatal: str | None = None  # no attempt can help, as far as this worker can see
    worker: str = Field(default="", max_length=400)  # its name, where that is so

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.attempt is not None and self.fatal is not None:
            raise ValueError("a task ends in one way")
        return self

    @property
    def committed(self) -> bool:
        """Whether it says that the task is committed."""
        return self.attempt is None and self.fatal is None


def carried(text: str) -> int:
    """The bytes that a message with a text takes in Redis at most: it travels as JSON in base64."""
    return len(json.dumps(text)) * 4 // 3 + _AROUND


def _where(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    depth = len(first["loc"])
    return f"{first['type']} at depth {depth}"  # names of keys are whatever the sender chose
