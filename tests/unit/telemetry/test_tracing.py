import pytest

from repoloom.telemetry import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"}


def test_a_trace_is_carried_through_headers() -> None:
    with tracing.span("work", parent=HEADERS):
        assert tracing.inject()["traceparent"].split("-")[1] == TRACE
        assert tracing.inject()["tracestate"] == "vendor=1"
    assert tracing.inject() == {}


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-0-01"}])
def test_headers_that_are_no_trace_begin_none(headers: dict[str, str]) -> None:
    with tracing.span("work", parent=headers):
        assert tracing.inject() == {}


def test_an_exception_passes_through_a_span() -> None:
    with pytest.raises(ValueError, match="x"), tracing.span("work"):
        raise ValueError("x")
