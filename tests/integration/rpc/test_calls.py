import contextlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from rpc.probe import ERRORS, NAME, SECRET, SERVICE, served

from repoloom import errors
from repoloom.errors import TooLargeError
from repoloom.rpc import dispatch
from repoloom.rpc.call import in_thread
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import DETAILS, OverloadedError, StatusError, error_of, raised_as_own
from repoloom.rpc.service import Service
from repoloom.rpc.settings import ChannelSettings


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served(max_message_bytes=1 << 20) as running:
        yield running.address


@pytest.fixture
def channel(server: str) -> Iterator[grpc.Channel]:
    with open_channel(ChannelSettings(target=server)) as opened:
        yield opened


def _method(channel: grpc.Channel, name: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    return channel.unary_unary(f"/{NAME}/{name}")


def _failure(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_all_four_kinds_of_method_answer(channel: grpc.Channel) -> None:
    messages = [b"one", b"two", b"three"]
    assert _method(channel, "Echo")(b"hello") == b"hello"
    assert list(channel.unary_stream(f"/{NAME}/Count")(b"3 0")) == [b"0", b"1", b"2"]
    assert channel.stream_unary(f"/{NAME}/Total")(iter(messages)) == b"11"
    assert list(channel.stream_stream(f"/{NAME}/Chat")(iter(messages))) == messages
    assert list(channel.stream_stream(f"/{NAME}/Chat")(iter(()))) == []


@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"leak", "secret"}))
def test_an_error_arrives_as_it_was_raised(channel: grpc.Channel, name: str) -> None:
    raised = ERRORS[name]
    with pytest.raises(errors.RepoloomError) as caught, raised_as_own():
        _method(channel, "Fail")(name.encode())
    assert str(caught.value) == str(raised)
    assert type(caught.value) is (errors.InputError if name == "field" else type(raised))
    if isinstance(raised, OverloadedError):
        assert caught.value.seconds == 2.5
    if isinstance(raised, StatusError):
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_a_failure_of_the_server_shows_none_of_its_insides(
    channel: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    error = _failure(lambda: _method(channel, "Fail")(b"leak", metadata=[("x-request-id", "r-17")]))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "the server failed; its log has the error under request r-17"
    assert SECRET not in repr(error)
    assert "ValueError" not in repr(error)
    (record,) = [record for record in caplog.records if record.name == "repoloom.rpc.dispatch"]
    assert record.exc_info is not None


def test_credentials_in_an_address_do_not_reach_the_client(channel: grpc.Channel) -> None:
    error = _failure(lambda: _method(channel, "Fail")(b"secret"))
    assert error.details() == "cannot fetch https://***@host/x"
    assert SECRET not in repr(error)


def test_an_error_names_its_fields_reason_and_request(channel: grpc.Channel) -> None:
    error = _failure(lambda: _method(channel, "Fail")(b"field", metadata=[("x-request-id", "r-18")]))
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS])
    reason, request, fields = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RequestInfo(),
        error_details_pb2.BadRequest(),
    )
    for packed, detail in zip(status.details, (reason, request, fields), strict=True):
        assert packed.Unpack(detail)
    assert (reason.domain, reason.reason) == ("repoloom", "INVALID_INPUT")
    assert request.request_id == "r-18"
    assert [(field.field, field.description) for field in fields.field_violations] == [
        ("params.max_line", "must be above 0")
    ]


@pytest.mark.parametrize(
    ("sent", "kept"), [("build-7_a.B", True), ("", False), ("two words", False), ("x" * 65, False), ('a"b', False)]
)
def test_a_request_id_makes_the_round_trip_if_it_is_sane(channel: grpc.Channel, sent: str, kept: bool) -> None:
    answer, call = _method(channel, "Context").with_call(b"", metadata=[("x-request-id", sent)])
    seen = json.loads(answer)["id"]
    assert dict(call.trailing_metadata())["x-request-id"] == seen
    assert seen == sent if kept else len(seen) == 32


def test_a_call_made_meanwhile_bears_the_same_request_id_and_what_is_left_of_the_deadline(
    channel: grpc.Channel, server: str
) -> None:
    answer = _method(channel, "Context")(server.encode(), metadata=[("x-request-id", "outer")], timeout=9)
    seen = json.loads(answer)
    assert seen["id"] == "outer"
    assert 0 < seen["remaining"] < 9.5  # gRPC sends whole units of time


def test_a_call_without_a_deadline_gets_the_longest_there_is() -> None:
    with served(call_seconds=50) as server, grpc.insecure_channel(server.address) as plain:
        context = plain.unary_unary(f"/{NAME}/Context")
        assert 0 < json.loads(context(b""))["remaining"] <= 50
        assert 0 < json.loads(context(b"", timeout=1000))["remaining"] <= 50
        assert 0 < json.loads(context(b"", timeout=20))["remaining"] < 30


def test_a_deadline_ends_a_stream_in_the_middle(channel: grpc.Channel) -> None:
    seen = []
    error = _failure(lambda: seen.extend(channel.unary_stream(f"/{NAME}/Count")(b"1000000 0.01", timeout=0.5)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_server_ends_a_stream_that_brings_no_deadline() -> None:
    with served(call_seconds=0.5) as server, grpc.insecure_channel(server.address) as plain:
        # It sends without a pause, so the end finds a message on its way, behind which the status must come.
        error = _failure(lambda: list(plain.unary_stream(f"/{NAME}/Count")(b"100000000 0")))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.details() == "the call was not done after 0.5 s"


@pytest.mark.parametrize("kind", ["stream_stream", "stream_unary"])
def test_a_client_that_sends_nothing_is_not_waited_for(kind: str) -> None:
    silent = threading.Event()

    def requests() -> Iterator[bytes]:
        silent.wait(60)
        yield from ()

    with served(quiet_seconds=0.3) as server, grpc.insecure_channel(server.address) as plain:
        method = getattr(plain, kind)(f"/{NAME}/{'Chat' if kind == 'stream_stream' else 'Total'}")
        error = _failure(lambda: method(requests()) if kind == "stream_unary" else list(method(requests())))
        silent.set()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.details() == "no message came for 0.3 s"


def test_a_client_that_reads_nothing_loses_its_place() -> None:
    with served(max_calls=1, quiet_seconds=0.3) as server, grpc.insecure_channel(server.address) as plain:
        stuck = plain.stream_stream(f"/{NAME}/Chat")(iter([bytes(1 << 20)] * 64))  # more than the windows hold
        next(stuck)  # it runs
        with open_channel(ChannelSettings(target=server.address), idempotent=[f"{NAME}/Echo"]) as other:
            assert _method(other, "Echo")(b"x") == b"x"
        stuck.cancel()


def test_a_message_that_is_too_large_is_refused_in_both_directions(channel: grpc.Channel, server: str) -> None:
    most = 1 << 20
    with pytest.raises(TooLargeError, match="larger than max"), raised_as_own():
        _method(channel, "Echo")(bytes(most + 1))  # the server's limit, the client's being larger
    with pytest.raises(TooLargeError, match="1048577 bytes"), raised_as_own():
        _method(channel, "Size")(b"%d" % (most + 1))
    assert len(_method(channel, "Size")(b"%d" % most)) == most
    with (
        open_channel(ChannelSettings(target=server, max_message_bytes=1024)) as small,
        pytest.raises(TooLargeError, match="larger than max"),
        raised_as_own(),
    ):
        _method(small, "Echo")(bytes(1025))


def test_a_compressed_message_is_refused(server: str) -> None:
    with grpc.insecure_channel(server) as plain:
        error = _failure(lambda: plain.unary_unary(f"/{NAME}/Echo")(bytes(4096), compression=grpc.Compression.Gzip))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_of_another_type_is_the_clients_fault() -> None:
    with served(_typed()) as server, open_channel(ChannelSettings(target=server.address)) as channel:
        method = channel.unary_unary("/t.Typed/Check")
        request = health_pb2.HealthCheckRequest(service="x").SerializeToString()
        assert health_pb2.HealthCheckResponse.FromString(method(request)).status == 1
        with pytest.raises(errors.InputError, match="not of the type"), raised_as_own():
            method(b"\xff\xff")


def test_others_are_answered_while_a_large_message_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counting, answered = threading.Event(), threading.Event()

    def count(*_: object) -> None:
        counting.set()
        assert answered.wait(20)

    monkeypatch.setattr(dispatch, "check_parts", count)
    with (
        served(_typed()) as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
    ):
        method = channel.unary_unary("/t.Typed/Check")
        large, small = (health_pb2.HealthCheckRequest(service="x" * size).SerializeToString() for size in (1 << 20, 1))
        counted = method.future(large)
        assert counting.wait(20)
        assert method(small, timeout=10)
        answered.set()
        assert counted.result()


def test_a_method_that_is_not_there_is_said_to_be_so(channel: grpc.Channel) -> None:
    assert _failure(lambda: _method(channel, "Nothing")(b"")).code() is grpc.StatusCode.UNIMPLEMENTED


def test_calls_beyond_the_limit_are_refused_at_once_and_told_when_to_come_back() -> None:
    limit, more = 8, 200
    with served(max_calls=limit, max_streams=1000) as server, grpc.insecure_channel(server.address) as plain:
        hold = plain.unary_unary(f"/{NAME}/Hold")
        chats = [_Chat(plain) for _ in range(limit)]  # each runs until it is told to end
        refused = [hold.future(b"0") for _ in range(more)]
        for call in refused:
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # while those that run do not end
            error = error_of(call.exception())
            assert isinstance(error, OverloadedError)
            assert 0.5 <= error.seconds <= 1.5
            assert int(dict(call.trailing_metadata())["grpc-retry-pushback-ms"]) == pytest.approx(
                error.seconds * 1000, abs=1
            )
        for chat in chats:
            chat.end()
        assert hold(b"0") == b"done"


def test_calls_that_only_wait_take_no_place_of_those_that_work() -> None:
    waiting = replace(SERVICE, waits=frozenset({"Chat"}))
    with served(waiting, max_calls=1, max_waits=2) as server, grpc.insecure_channel(server.address) as plain:
        echo = plain.unary_unary(f"/{NAME}/Echo")
        chats = [_Chat(plain) for _ in range(2)]
        assert echo(b"x") == b"x"
        with pytest.raises(OverloadedError, match="runs 2 such calls"), raised_as_own():
            list(plain.stream_stream(f"/{NAME}/Chat")(iter([b"one too many"])))
        for chat in chats:
            chat.end()


def test_a_call_that_may_be_repeated_is_repeated_as_the_server_asks() -> None:
    with served(max_calls=1) as server:
        settings = ChannelSettings(target=server.address)
        with (
            open_channel(settings, idempotent=[f"{NAME}/Echo"]) as channel,
            grpc.insecure_channel(server.address) as other,
        ):
            chat = _Chat(other)
            assert _failure(lambda: _method(channel, "Hold")(b"0")).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            repeated = _method(channel, "Echo").future(b"again")
            time.sleep(0.2)  # it was refused at least once by now; were it not, the test would still hold
            assert not repeated.done()
            chat.end()
            assert repeated.result() == b"again"


def test_a_call_that_a_server_ends_as_it_goes_is_repeated_and_one_that_its_caller_ends_is_not() -> None:
    asked: list[bytes] = []
    over = threading.Event()

    def chat(said: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        asked.append(next(said))
        if asked == [b"a"]:
            context.abort(grpc.StatusCode.CANCELLED, "going")
        if asked[-1] == b"held":
            over.wait(10)
        yield asked[-1]

    server = grpc.server(ThreadPoolExecutor())
    handlers = {"Chat": grpc.stream_stream_rpc_method_handler(chat)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    settings = ChannelSettings(target=f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    with open_channel(settings, idempotent=[NAME]) as channel:
        calls = channel.stream_stream(f"/{NAME}/Chat")
        assert list(calls(iter([b"a"]))) == [b"a"]
        held = calls(iter([b"held"]))
        while len(asked) < 3:
            time.sleep(0.01)
        held.cancel()
        assert held.code() is grpc.StatusCode.CANCELLED
        time.sleep(0.5)  # longer than what goes before a repeat
    over.set()
    server.stop(None).wait()
    assert asked == [b"a", b"a", b"held"]


def test_a_stream_waits_for_the_successor_of_a_server_that_went() -> None:
    with contextlib.ExitStack() as channels:
        with served() as first:
            settings = ChannelSettings(target=first.address)
            channel = channels.enter_context(open_channel(settings, idempotent=[NAME]))
            chat = channel.stream_stream(f"/{NAME}/Chat")
            assert list(chat(iter([b"a"]))) == [b"a"]
        answers = chat(iter([b"b"]))
        time.sleep(1)
        with served(address=first.address):
            assert list(answers) == [b"b"]


def test_a_caller_who_leaves_makes_room() -> None:
    with served(max_calls=1) as server, grpc.insecure_channel(server.address) as plain:
        echo = plain.unary_unary(f"/{NAME}/Echo")
        for _ in range(5):
            call = plain.unary_stream(f"/{NAME}/Count")(b"1000000 0.01")
            next(call)
            call.cancel()
            with open_channel(ChannelSettings(target=server.address), idempotent=[f"{NAME}/Echo"]) as channel:
                assert _method(channel, "Echo")(b"x") == b"x"
        assert echo(b"y") == b"y"


def test_a_caller_who_leaves_makes_room_when_the_thread_of_its_call_is_done(caplog: pytest.LogCaptureFixture) -> None:
    begun, over = threading.Event(), threading.Event()

    def work() -> bytes:
        begun.set()
        assert over.wait(60)
        return b""

    async def think(request: bytes, _: object) -> bytes:
        return await in_thread(executor, work) if request else b"nothing"

    service = Service("t.T", {"Think": grpc.unary_unary_rpc_method_handler(think)}, {"Think": "t:online"})
    with (
        caplog.at_level(logging.INFO, "repoloom.rpc.access"),
        ThreadPoolExecutor(1) as executor,
        served(service, max_calls=1) as server,
        open_channel(ChannelSettings(target=server.address), idempotent=["t.T/Think"]) as channel,
    ):
        path = "/t.T/Think"
        left = channel.unary_unary(path).future(b"at length")
        assert begun.wait(20)
        left.cancel()
        until = time.monotonic() + 20
        while not caplog.records:  # the call has ended
            assert time.monotonic() < until
            time.sleep(0.01)
        with grpc.insecure_channel(server.address) as plain:
            error = _failure(lambda: plain.unary_unary(path)(b""))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        over.set()
        assert channel.unary_unary(path)(b"") == b"nothing"


def test_connections_beyond_the_limit_are_not_taken() -> None:
    with served(max_connections=2) as server, contextlib.ExitStack() as stack:
        apart = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
        channels = [stack.enter_context(grpc.insecure_channel(server.address, apart)) for _ in range(3)]
        for channel in channels[:2]:
            assert _method(channel, "Echo")(b"x") == b"x"
        error = _failure(lambda: _method(channels[2], "Echo")(b"x"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_every_call_has_a_line_in_the_access_log(channel: grpc.Channel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "repoloom.rpc.access"):
        list(channel.stream_stream(f"/{NAME}/Chat")(iter([b"a", b"b"])))
        _failure(lambda: _method(channel, "Fail")(b"input"))
        _method(channel, "Echo")(b"")  # when it is answered, those before it are logged
    lines = [record.fields for record in caplog.records if record.name == "repoloom.rpc.access"]
    seen = Counter((line["method"], line["code"], line["received"], line["sent"]) for line in lines)
    assert seen[("Chat", "OK", 2, 2)] == 1
    assert seen[("Fail", "INVALID_ARGUMENT", 1, 0)] == 1


def _typed() -> Service:
    """A service whose messages are of a type; it says how long a name is."""

    async def check(request: health_pb2.HealthCheckRequest, _: object) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=len(request.service))

    handler = grpc.unary_unary_rpc_method_handler(
        check, health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
    )
    return Service("t.Typed", {"Check": handler}, {"Check": "t:online"})


class _Chat:
    """A call that runs until it is told to end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._over = threading.Event()
        self._call = channel.stream_stream(f"/{NAME}/Chat")(self._requests())
        assert next(self._call) == b"here"  # it runs

    def end(self) -> None:
        self._over.set()
        assert list(self._call) == []

    def _requests(self) -> Iterator[bytes]:
        yield b"here"
        self._over.wait(120)
