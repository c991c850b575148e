import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
import rpc.probe
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from rpc.probe import NAME

from repoloom.errors import UnavailableError
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import raised_as_own
from repoloom.rpc.settings import ChannelSettings


class Process:
    """A server in a process of its own."""

    def __init__(self, **environment: str) -> None:
        given = {"PROBE_ADDRESS": "127.0.0.1:0", "PROBE_METRICS_ADDRESS": "127.0.0.1:0", **environment}
        self.process = subprocess.Popen(
            [sys.executable, rpc.probe.__file__], env={**os.environ, **given}, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        serving = self.read_until("serving")
        self.address: str = serving["address"]
        self.metrics_port: int = serving["metrics_port"]

    def read_until(self, message: str) -> dict[str, object]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            with contextlib.suppress(json.JSONDecodeError):
                said = json.loads(line)
                if said["message"] == message:
                    return said
        raise AssertionError(f"it never said {message!r} but:\n" + "".join(self.lines))

    def end(self) -> int:
        """Waits for its end; its exit code."""
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return self.process.wait(60)


@contextlib.contextmanager
def _process(**environment: str) -> Iterator[Process]:
    running = Process(**environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        assert running.process.stderr is not None
        running.process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_accepted_call_is_lost_and_no_later_one_is_answered(number: signal.Signals) -> None:
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"first"
        over.wait(120)
        yield b"last"

    with _process(PROBE_DRAIN_SECONDS="60") as server, open_channel(ChannelSettings(target=server.address)) as channel:
        chats = [channel.stream_stream(f"/{NAME}/Chat")(requests()) for _ in range(20)]
        for chat in chats:
            assert next(chat) == b"first"
        counts = [channel.unary_stream(f"/{NAME}/Count")(b"50 0.02") for _ in range(10)]
        for count in counts:
            assert next(count) == b"0"
        os.kill(server.process.pid, number)
        server.read_until("draining")
        with grpc.insecure_channel(server.address) as plain:
            health = health_pb2_grpc.HealthStub(plain)
            for name in ("", NAME):
                status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
                assert status == health_pb2.HealthCheckResponse.NOT_SERVING
            for _ in range(20):
                with pytest.raises(UnavailableError, match="stopping"), raised_as_own():
                    plain.unary_unary(f"/{NAME}/Echo")(b"late")
        over.set()
        for chat in chats:
            assert list(chat) == [b"last"]
        for count in counts:
            assert list(count) == [b"%d" % number for number in range(1, 50)]
        assert server.end() == 0
        with pytest.raises(UnavailableError), raised_as_own():
            channel.unary_unary(f"/{NAME}/Echo")(b"much later")


def test_calls_that_come_while_it_goes_down_are_answered_or_unavailable_and_nothing_else() -> None:
    with _process() as server, open_channel(ChannelSettings(target=server.address)) as channel:
        echo = channel.unary_unary(f"/{NAME}/Echo")
        ends: list[object] = []
        started = threading.Barrier(9)

        def call_until_it_is_gone() -> None:
            started.wait()
            refusals = 0
            while refusals < 100:
                try:
                    with raised_as_own():
                        ends.append(echo(b"x") == b"x")
                except Exception as error:
                    ends.append(error)
                    refusals += 1

        threads = [threading.Thread(target=call_until_it_is_gone) for _ in range(8)]
        for thread in threads:
            thread.start()
        started.wait()
        while len(ends) < 100:
            pass
        server.process.terminate()
        assert server.end() == 0
        for thread in threads:
            thread.join()
        refused = [end for end in ends if end is not True]
        assert refused
        assert {type(end) for end in refused} == {UnavailableError}
        text = "".join(server.lines)
        assert "Traceback" not in text
        assert text.count('"code": "OK"') == len(ends) - len(refused)


def test_a_call_that_is_not_done_in_time_is_ended_and_told_so() -> None:
    with (
        _process(PROBE_DRAIN_SECONDS="0.2") as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
    ):
        call = channel.unary_stream(f"/{NAME}/Count")(b"1000000 0.01")
        next(call)
        server.process.terminate()
        with pytest.raises(UnavailableError, match="stopped before the call was done"), raised_as_own():
            list(call)
        assert server.end() == 0


def test_a_second_signal_ends_what_still_runs() -> None:
    with (
        _process(PROBE_DRAIN_SECONDS="1000") as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
    ):
        call = channel.unary_stream(f"/{NAME}/Count")(b"1000000 0.01")
        next(call)
        server.process.terminate()
        server.read_until("draining")
        server.process.terminate()
        with pytest.raises(UnavailableError, match="stopped before the call was done"), raised_as_own():
            list(call)
        assert server.end() == 0


def test_metrics_and_probes_are_answered_beside_the_calls() -> None:
    with _process() as server, open_channel(ChannelSettings(target=server.address)) as channel:
        channel.unary_unary(f"/{NAME}/Echo")(b"12345")
        channel.unary_unary(f"/{NAME}/Echo")(b"")  # when it is answered, the one before it is counted
        url = f"http://127.0.0.1:{server.metrics_port}"
        text = urllib.request.urlopen(f"{url}/metrics").read().decode()
        labels = f'method="Echo",service="{NAME}"'
        assert re.search(rf'^repoloom_rpc_calls_total{{code="OK",{labels}}} [12]\.0$', text, re.M)
        received = rf'^repoloom_rpc_message_bytes_total{{direction="received",{labels}}} 5\.0$'
        assert re.search(received, text, re.M)
        assert urllib.request.urlopen(f"{url}/healthz").status == 200


def test_logs_are_json_with_the_request_they_are_of() -> None:
    with _process() as server, open_channel(ChannelSettings(target=server.address)) as channel:
        with contextlib.suppress(grpc.RpcError):
            channel.unary_unary(f"/{NAME}/Fail")(b"leak", metadata=[("x-request-id", "r-1")])
        server.process.terminate()
        assert server.end() == 0
        lines = [json.loads(line) for line in server.lines]
        of_it = [line for line in lines if line.get("request_id") == "r-1"]
        assert [line["logger"] for line in of_it] == ["repoloom.rpc.dispatch", "repoloom.rpc.access"]
        assert "ZeroDivisionError" not in of_it[0]["error"]
        assert "ValueError: connection to s3://***@host failed" in of_it[0]["error"]
        assert rpc.probe.SECRET not in "".join(server.lines).replace(of_it[0]["error"], "")


def test_a_span_of_each_call_reaches_the_collector_in_its_clients_trace() -> None:
    received: list[trace_service_pb2.ExportTraceServiceRequest] = []

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(  # noqa: N802
            self, request: trace_service_pb2.ExportTraceServiceRequest, _: grpc.ServicerContext
        ) -> trace_service_pb2.ExportTraceServiceResponse:
            received.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    with futures.ThreadPoolExecutor(2) as executor:
        collector = grpc.server(executor)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), collector)
        port = collector.add_insecure_port("127.0.0.1:0")
        collector.start()
        trace = "0af7651916cd43dd8448eb211c80319c"
        with (
            _process(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}") as server,
            open_channel(ChannelSettings(target=server.address)) as channel,
        ):
            headers = [("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
            channel.unary_unary(f"/{NAME}/Echo")(b"", metadata=headers)
            channel.unary_unary(f"/{NAME}/Context")(server.address.encode(), metadata=headers)
            for error in (b"input", b"leak"):
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary(f"/{NAME}/Fail")(error, metadata=headers)
            server.process.terminate()
            assert server.end() == 0
        collector.stop(None).wait()
    resources = [resource for request in received for resource in request.resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    names = ["Context", "Context", "Echo", "Fail", "Fail"]
    assert sorted(span.name for span in spans) == [f"{NAME}/{name}" for name in names]
    assert [span.status.message for span in spans if span.status.code == span.status.STATUS_CODE_ERROR] == ["INTERNAL"]
    assert rpc.probe.SECRET not in str(received)
    assert {span.trace_id.hex() for span in spans} == {trace}
    outer, inner = sorted(
        (span for span in spans if span.name.endswith("Context")), key=lambda s: s.start_time_unix_nano
    )
    assert inner.parent_span_id == outer.span_id
    assert trace in "".join(server.lines)


def test_a_server_whose_collector_is_not_there_serves_and_ends() -> None:
    with (
        _process(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
    ):
        assert channel.unary_unary(f"/{NAME}/Echo")(b"x") == b"x"
        server.process.terminate()
        assert server.end() == 0
