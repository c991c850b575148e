"""What is noted of each call: its metrics, its span, and one line in the access log."""

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator

import grpc
from opentelemetry.trace import SpanKind

from repoloom.rpc.call import Call
from repoloom.telemetry import metrics, tracing
from repoloom.telemetry.logging import bound
from repoloom.telemetry.metrics import Direction

_access = logging.getLogger("repoloom.rpc.access")
_TRACE_HEADERS = ("traceparent", "tracestate")
# These make a server's span an error, the others blame the client (OpenTelemetry's semantic conventions for gRPC).
_ERRORS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}


@contextlib.contextmanager
def observed(call: Call, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[None]:
    """Notes a call, which the block answers; how it ended is in `call.code` then."""
    parent = {name: value for name, value in metadata if name in _TRACE_HEADERS and isinstance(value, str)}
    started = time.monotonic()
    metrics.call_started(call.service, call.method)
    with (
        bound(request_id=call.request_id),
        tracing.span(
            f"{call.service}/{call.method}",
            SpanKind.SERVER,
            parent,
            **{"rpc.system": "grpc", "rpc.service": call.service, "rpc.method": call.method},
        ) as span,
    ):
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            span.set_attribute("rpc.grpc.status_code", call.code.value[0])
            if call.code in _ERRORS:
                tracing.mark_failed(span, call.code.name)
            metrics.call_ended(call.service, call.method, call.code.name, seconds)
            _access.info(
                "%s/%s %s", call.service, call.method, call.code.name, extra={"fields": _fields(call, seconds)}
            )


def received(call: Call, size: int) -> None:
    """Notes a message of the client."""
    call.received += 1
    metrics.message_passed(call.service, call.method, Direction.RECEIVED, size)


def sent(call: Call, size: int) -> None:
    """Notes a message to the client."""
    call.sent += 1
    metrics.message_passed(call.service, call.method, Direction.SENT, size)


def _fields(call: Call, seconds: float) -> dict[str, object]:
    return {
        "service": call.service,
        "method": call.method,
        "code": call.code.name,
        "seconds": round(seconds, 6),
        "caller": call.caller.name,
        "peer": call.peer,
        "received": call.received,
        "sent": call.sent,
    }
