import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rpc.probe import NAME, served

from repoloom.errors import InputError, UnavailableError
from repoloom.rpc.callers import new_caller
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import OverloadedError, StatusError, raised_as_own
from repoloom.rpc.settings import ChannelSettings
from repoloom.telemetry.metrics import exposition

REFUSED = grpc.StatusCode.UNAUTHENTICATED


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _replace(file: Path, text: str) -> None:
    """As Kubernetes does: the file is another one at once."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


@pytest.fixture
def callers(tmp_path: Path) -> Path:
    return tmp_path / "callers.yaml"


class Client:
    def __init__(self, **settings: object) -> None:
        self._channel = open_channel(ChannelSettings.model_validate(settings))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: str = "Echo", request: bytes = b"1", service: str = NAME) -> bytes:
        with raised_as_own():
            return self._channel.unary_unary(f"/{service}/{method}")(request, timeout=20)

    def code(self, method: str = "Echo") -> grpc.StatusCode:
        try:
            self.call(method)
        except StatusError as error:
            return error.code
        return grpc.StatusCode.OK


def test_a_token_opens_what_its_scopes_name_and_no_more(callers: Path) -> None:
    token, entry = new_caller("ci", ["probe:online"])
    every, entry_of_all = new_caller("admin", ["*"])
    callers.write_text(entry + entry_of_all)
    with served(callers_file=callers) as server:
        with Client(target=server.address, token=token) as client:
            assert json.loads(client.call("Context", b""))["caller"] == "ci"
            assert client.code("Size") is grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(StatusError, match="ci may not call Size: it needs probe:batch"):
                client.call("Size")
            assert client.code("Nothing") is grpc.StatusCode.UNIMPLEMENTED
        with Client(target=server.address, token=every) as client:
            assert client.code("Size") is grpc.StatusCode.OK


@pytest.mark.parametrize("several", [True, False])
def test_one_of_several_callers_leaves_some_places_to_the_others(callers: Path, several: bool) -> None:
    token, entry = new_caller("ci", ["*"])
    other, entry_of_other = new_caller("other", ["*"])
    callers.write_text(entry + entry_of_other if several else entry)
    with (
        served(callers_file=callers, max_calls=4, caller_share=0.5) as server,
        open_channel(ChannelSettings(target=server.address, token=token)) as channel,
        Client(target=server.address, token=other) as client,
    ):
        count = channel.unary_stream(f"/{NAME}/Count")
        calls = [count(b"1000000 0.01") for _ in range(2 if several else 4)]
        for call in calls:
            next(call)
        said = "ci runs 2 such calls already" if several else "the server runs 4 such calls already"
        with pytest.raises(OverloadedError, match=said), raised_as_own():
            next(count(b"1 0"))
        if several:
            assert client.call() == b"1"
        for call in calls:
            call.cancel()


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer loom_0000000000000000000000000000000000000000000")],
        [("authorization", "Bearer " + "x" * 5000)],
        [("authorization", "Basic {token}")],
        [("authorization", "Bearer {token}x")],
        [("authorization", "Bearer {token}"), ("authorization", "Bearer {token}")],
    ],
    ids=["none", "empty", "no token", "another", "long", "other scheme", "longer", "two"],
)
def test_whoever_is_not_known_may_ask_for_health_and_nothing_else(
    callers: Path, metadata: list[tuple[str, str]]
) -> None:
    token, entry = new_caller("ci", ["*"])
    callers.write_text(entry)
    given = [(name, value.format(token=token)) for name, value in metadata]
    with served(callers_file=callers) as server, grpc.insecure_channel(server.address) as plain:
        for method in ("Echo", "Nothing"):
            assert _code(lambda method=method: plain.unary_unary(f"/{NAME}/{method}")(b"", metadata=given)) is REFUSED
        assert _code(lambda: list(plain.stream_stream(f"/{NAME}/Chat")(iter([b"x"]), metadata=given))) is REFUSED
        reflection = reflection_pb2_grpc.ServerReflectionStub(plain)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        assert _code(lambda: list(reflection.ServerReflectionInfo(iter([question]), metadata=given))) is REFUSED
        health = health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(service=NAME))
        assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_tokens_rotate_without_a_restart_of_either_side(callers: Path, tmp_path: Path) -> None:
    (old, old_entry), (new, new_entry) = new_caller("ci", ["*"]), new_caller("ci", ["*"])
    mine = tmp_path / "token"
    callers.write_text(old_entry)
    mine.write_text(old + "\n")
    with served(callers_file=callers) as server, Client(target=server.address, token_file=mine) as client:
        assert client.code() is grpc.StatusCode.OK
        _replace(callers, old_entry + new_entry)
        assert client.code() is grpc.StatusCode.OK
        _replace(mine, new)
        assert client.code() is grpc.StatusCode.OK
        _replace(callers, new_entry)
        assert client.code() is grpc.StatusCode.OK
        _replace(mine, old)
        assert client.code() is REFUSED


def test_a_callers_file_that_breaks_leaves_the_callers_as_they_were_for_a_while(
    callers: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, entry = new_caller("ci", ["*"])
    callers.write_text(entry)
    with served(callers_file=callers) as server, Client(target=server.address, token=token) as client:
        _replace(callers, "- name: [")
        assert client.code() is grpc.StatusCode.OK
        assert "stay as they were" in caplog.text
        callers.unlink()
        assert client.code() is grpc.StatusCode.OK
        monkeypatch.setattr("repoloom.rpc.callers._GRACE", 0)
        assert client.code() is REFUSED
        callers.write_text(entry)
        assert client.code() is grpc.StatusCode.OK


def test_a_token_ends_when_it_expires(callers: Path) -> None:
    token, entry = new_caller("ci", ["*"], datetime.now(UTC) - timedelta(seconds=1))
    callers.write_text(entry)
    with served(callers_file=callers) as server, Client(target=server.address, token=token) as client:
        assert client.code() is REFUSED


def test_no_secret_is_in_a_log_a_metric_or_an_error(callers: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token, entry = new_caller("ci", ["probe:online"])
    callers.write_text(entry)
    said = []
    with served(callers_file=callers) as server, Client(target=server.address, token=token) as client:
        for method in ("Echo", "Size", "Nothing"):
            try:
                client.call(method)
            except StatusError as error:
                said += [repr(error), repr(error.__cause__)]
        said.append(repr(vars(client)))
    said.append(repr(ChannelSettings(target="127.0.0.1:1", token=token)))
    text = caplog.text + exposition().decode() + "".join(said)
    assert "PERMISSION_DENIED" in text
    assert token not in text
    assert token not in entry


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def guarded(authority: Authority, callers: Path) -> Iterator[str]:
    """A server that takes certificates alone."""
    pair = authority.issue("server")
    callers.write_text(
        "- {name: runner, certificate: runner.example, scopes: ['probe:*']}\n"
        "- {name: reader, certificate: reader, scopes: ['probe:online']}\n"
    )
    with served(cert_file=pair.cert, key_file=pair.key, client_ca_file=authority.file, callers_file=callers) as server:
        yield server.address


def test_a_certificate_opens_what_its_name_may_do(authority: Authority, guarded: str) -> None:
    for name, alternative, batch in (
        ("runner.example", True, grpc.StatusCode.OK),
        ("reader", False, grpc.StatusCode.PERMISSION_DENIED),  # by its common name
    ):
        pair = authority.issue(name, alternative=alternative)
        with Client(target=guarded, ca_file=authority.file, cert_file=pair.cert, key_file=pair.key) as client:
            assert client.code("Echo") is grpc.StatusCode.OK
            assert client.code("Size") is batch


def test_a_certificate_that_nobody_listed_opens_nothing(authority: Authority, guarded: str) -> None:
    pair = authority.issue("stranger")
    with Client(target=guarded, ca_file=authority.file, cert_file=pair.cert, key_file=pair.key) as client:
        assert client.code() is REFUSED


def test_a_client_without_a_certificate_of_the_authority_is_not_let_in(
    authority: Authority, guarded: str, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other").issue("runner.example")
    expired = authority.issue("reader", timedelta(days=-1))
    for pair in (None, other, expired):
        given = {"cert_file": pair.cert, "key_file": pair.key} if pair else {}
        with (
            Client(target=guarded, ca_file=authority.file, **given) as client,
            pytest.raises(UnavailableError),
        ):
            client.call()


def test_a_server_without_a_valid_certificate_of_the_authority_is_not_called(
    authority: Authority, callers: Path, tmp_path: Path
) -> None:
    token, entry = new_caller("ci", ["*"])
    callers.write_text(entry)
    good, expired = authority.issue("server"), authority.issue("old", timedelta(days=-1))
    other = Authority(tmp_path, "other")
    for pair, trusted in ((good, other), (expired, authority)):
        with (
            served(cert_file=pair.cert, key_file=pair.key, callers_file=callers) as server,
            Client(target=server.address, ca_file=trusted.file, token=token) as client,
            pytest.raises(UnavailableError),
        ):
            client.call()


def test_a_renewed_certificate_is_used_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("server")
    with served(cert_file=pair.cert, key_file=pair.key) as server:
        with Client(target=server.address, ca_file=authority.file) as client:
            assert client.code() is grpc.StatusCode.OK
        successor = Authority(tmp_path, "successor")
        successor.issue("server")  # in the same files
        with Client(target=server.address, ca_file=successor.file) as client:
            assert client.code() is grpc.StatusCode.OK


def test_a_token_travels_over_tls(authority: Authority, callers: Path) -> None:
    token, entry = new_caller("ci", ["*"])
    callers.write_text(entry)
    pair = authority.issue("server")
    with served(cert_file=pair.cert, key_file=pair.key, callers_file=callers) as server:
        with Client(target=server.address, ca_file=authority.file, token=token) as client:
            assert client.code() is grpc.StatusCode.OK
        with Client(target=server.address, token=token, plaintext=True) as client, pytest.raises(UnavailableError):
            client.call()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    for settings in ({"cert_file": missing, "key_file": missing}, {"callers_file": missing}):
        with pytest.raises(InputError, match=r"missing\.pem"), served(**settings):
            pass
