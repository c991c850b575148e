"""What each process of a stormy fleet has on it: a clock that jumps, short patience, and a log of what it runs.

CHAOS_CLOCK names a file with the seconds by which the clock is wrong, CHAOS_PACE a queue.Pace as JSON, CHAOS_RUNS the
log to which each run of a step adds a line: the address of the task, and when it was begun, on the monotonic clock.
"""

import datetime
import os
import sys
import time
from pathlib import Path
from typing import Any

_true_time, _true_datetime = time.time, datetime.datetime
_clock = Path(os.environ["CHAOS_CLOCK"])


def _wrong_time() -> float:
    return _true_time() + float(_clock.read_text())


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _true_datetime)


class _WrongDatetime(_true_datetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _true_datetime.fromtimestamp(_wrong_time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)


time.time = _wrong_time
datetime.datetime = _WrongDatetime  # type: ignore[misc]


def _set_pace() -> None:
    from repoloom.engine.queue.pace import Pace

    for name, value in Pace.model_validate_json(os.environ["CHAOS_PACE"]).model_dump().items():
        Pace.model_fields[name].default = value
    Pace.model_rebuild(force=True)


def _shorten_parts() -> None:
    from repoloom.store import s3_writer

    s3_writer.PART_BYTES = 5 << 20  # the least that S3 takes of a part that is not the last


def _log_runs() -> None:
    from repoloom.engine import execute as engine

    log = os.open(os.environ["CHAOS_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    execute, entered = engine.execute, 0.0

    def entering(*arguments: Any) -> Any:
        nonlocal entered
        entered = time.monotonic()  # before it looks whether the task is committed
        return execute(*arguments)

    class Writer(engine.TaskWriter):
        """Made right before a step is run, and only then."""

        def __init__(self, store: Any, prefix: str, *arguments: Any) -> None:
            os.write(log, f"{store.uri}/{prefix} {entered}\n".encode())
            super().__init__(store, prefix, *arguments)

    engine.execute, engine.TaskWriter = entering, Writer


_set_pace()
_shorten_parts()
if "repoloom.engine.worker" in sys.orig_argv:
    _log_runs()
