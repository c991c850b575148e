"""Structured logs: one JSON object a line, plain on a terminal, with what the process is doing and no secret."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TextIO

from repoloom.telemetry.redaction import redact
from repoloom.text import visible

_bound: ContextVar[Mapping[str, str]] = ContextVar("repoloom_log_fields", default={})  # noqa: B039 - never changed
_OWN = ("time", "level", "logger", "message", "error")


@contextlib.contextmanager
def bound(
    *, request_id: str | None = None, task: str | None = None, step: str | None = None, run: str | None = None
) -> Iterator[None]:
    """Says what is being done while the block runs; each line logged meanwhile, here or in what it starts, holds it."""
    given = {"request_id": request_id, "task": task, "step": step, "run": run}
    token = _bound.set({**_bound.get(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends all logs of the process to a stream, by default stderr: plain where it is a terminal, else JSON."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What a line says besides its message: what is bound, the trace, and the `extra={"fields": ...}` of its caller."""
    fields: dict[str, object] = dict(_bound.get())
    if (trace := _trace_id()) is not None:
        fields["trace_id"] = trace
    extra: Mapping[str, object] = getattr(record, "fields", {})
    fields.update((name, value) for name, value in extra.items() if name not in _OWN)
    return fields


class JsonFormatter(logging.Formatter):
    """One JSON object a line, ASCII alone, so no message can look like a second line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        cleaned = {name: redact(v) if isinstance(v, str) else v for name, v in fields_of(record).items()}
        return json.dumps({**line, **cleaned}, default=lambda value: redact(str(value)))


class PlainFormatter(logging.Formatter):
    """A line for somebody who watches; nothing in it can command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        text = visible(redact(f"{clock} {record.levelname.lower():7} {record.getMessage()}{fields}"), kept="")
        return text + ("\n" + visible(redact(self.formatException(record.exc_info))) if record.exc_info else "")


def _trace_id() -> str | None:
    trace = sys.modules.get("opentelemetry.trace")  # no span can be open in a process that never loaded it
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
