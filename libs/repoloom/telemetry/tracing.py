"""Traces: spans sent by OTLP where an endpoint is set, and W3C trace context carried over calls and messages."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")  # OpenTelemetry's names
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
_SECONDS = 3  # by default: so long, and no longer, a collector that is away may hold up the end of a process
_TRACER = "repoloom"


@contextlib.contextmanager
def exporting(service: str) -> Iterator[None]:
    """Sends the spans of this process while the block runs, and what is left of them at its end.

    Where no endpoint is set, nothing is loaded and spans cost next to nothing. OpenTelemetry's other variables
    (headers, sampler, resource attributes) hold as documented there.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)}))
    timeout = None if any(os.environ.get(name) for name in _TIMEOUTS) else _SECONDS
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def inject() -> dict[str, str]:
    """The current trace as headers (`traceparent`, `tracestate`; W3C Trace Context) for metadata and messages."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


@contextlib.contextmanager
def span(
    name: str, kind: "SpanKind | None" = None, parent: Mapping[str, str] | None = None, **attributes: str | int
) -> "Iterator[Span]":
    """A span while the block runs: a child of the trace in `parent`'s headers if given, else of the current one.

    Headers that are no trace context start a new trace. An exception that passes leaves no mark, for it may hold
    anything: what counts as a failure is said by `mark_failed`.
    """
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(parent) if parent is not None else None
    with trace.get_tracer(_TRACER).start_as_current_span(
        name,
        context=context,
        kind=kind or trace.SpanKind.INTERNAL,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        yield opened


def mark_failed(span: "Span", reason: str) -> None:
    """Says that what a span stands for failed, in a word."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, reason)
