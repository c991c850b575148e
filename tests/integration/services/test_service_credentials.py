"""Nobody gets in without a credential, nor to what it is not for: every method of every real service."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr
from rpc.process import ServiceProcess
from rpc.reflected import Method, methods_of

from repoloom import client
from repoloom.errors import ForbiddenError, UnavailableError
from repoloom.protos.corpus.v1.corpus_pb2 import File
from repoloom.rpc.callers import new_caller
from repoloom.rpc.catalog import Name
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import StatusError
from repoloom.rpc.settings import ChannelSettings

FOR_ANYONE_KNOWN = "grpc.reflection.v1alpha.ServerReflection"
HEALTH = "grpc.health.v1.Health"
SECONDS = 60

Code = grpc.StatusCode


class Guarded:
    """A service that has callers: one for its own faces, one for another service's."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        self.name = name
        self.store = folder / "store"
        self.store.mkdir()
        self.right, right = new_caller("right", [f"{name}:online", f"{name}:batch"])
        self.wrong, wrong = new_caller("wrong", ["another:*", f"{name}:nothing"])
        callers = folder / "callers.yaml"
        callers.write_text(right + wrong)
        server = ServiceProcess(name, self.store, folder / "log", REPOLOOM_SERVER_CALLERS_FILE=str(callers))
        self.address = stack.enter_context(server).address

    def methods(self) -> list[Method]:
        with open_channel(ChannelSettings(target=self.address, token=SecretStr(self.right))) as channel:
            return methods_of(channel)

    def code(self, method: Method, *metadata: tuple[str, str]) -> grpc.StatusCode:
        """How a call of a method ends that says nothing."""
        with grpc.insecure_channel(self.address) as channel:
            call = method.call(channel, iter([b""]), SECONDS, metadata)
            try:
                for _ in call:
                    pass
            except grpc.RpcError:
                pass
            return call.code()


@pytest.fixture(scope="module", params=Name)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(request.param, tmp_path_factory.mktemp(request.param), stack)


def test_reflection_tells_of_every_face(guarded: Guarded) -> None:
    services = {method.service for method in guarded.methods()}
    own = {service for service in services if service.startswith(f"repoloom.{guarded.name}.v1.")}
    assert len(own) == 1
    assert services - own == {
        "repoloom.jobs.v1.JobsService",
        "google.longrunning.Operations",
        FOR_ANYONE_KNOWN,
        HEALTH,
    }


def test_no_method_answers_whom_it_does_not_know(guarded: Guarded) -> None:
    methods = [method for method in guarded.methods() if method.service != HEALTH]
    assert len(methods) >= 8
    refused = {
        "none": (),
        "unknown": (("authorization", "Bearer rl_" + "x" * 43),),
        "empty": (("authorization", "Bearer "),),
        "other scheme": (("authorization", f"Basic {guarded.right}"),),
        "two": (("authorization", f"Bearer {guarded.right}"), ("authorization", f"Bearer {guarded.wrong}")),
        "elsewhere": (("x-authorization", f"Bearer {guarded.right}"),),
    }
    for method in methods:
        codes = {how: guarded.code(method, *metadata) for how, metadata in refused.items()}
        assert codes == dict.fromkeys(refused, Code.UNAUTHENTICATED), method.path


def test_a_token_for_other_things_opens_nothing(guarded: Guarded) -> None:
    for method in guarded.methods():
        if method.service in (HEALTH, FOR_ANYONE_KNOWN):
            continue
        assert guarded.code(method, ("authorization", f"Bearer {guarded.wrong}")) is Code.PERMISSION_DENIED, method.path
        allowed = guarded.code(method, ("authorization", f"Bearer {guarded.right}"))
        assert allowed in (Code.OK, Code.INVALID_ARGUMENT), method.path


def test_a_method_that_is_not_there_is_not_told_to_strangers(guarded: Guarded) -> None:
    nothing = Method(f"repoloom.{guarded.name}.v1.Nothing", "Nothing", health_pb2.HealthCheckRequest, False, False)
    assert guarded.code(nothing) is Code.UNAUTHENTICATED
    assert guarded.code(nothing, ("authorization", f"Bearer {guarded.right}")) is Code.UNIMPLEMENTED


def test_health_is_open(guarded: Guarded) -> None:
    with grpc.insecure_channel(guarded.address) as channel:
        response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_no_address_outside_of_the_root_is_opened(guarded: Guarded) -> None:
    (guarded.store.parent / "outside").mkdir(exist_ok=True)
    link = guarded.store / "link"
    if not link.is_symlink():
        link.symlink_to(guarded.store.parent / "outside")
    outside = [
        "/etc",
        "",
        "..",
        f"{guarded.store}/../outside",
        f"{guarded.store}x",
        str(link),
        f"{guarded.store}/.jobs",
    ]
    outside += ["s3://bucket/key", "file:///etc", "http://127.0.0.1/", f"{guarded.store}/%2e%2e/outside"]
    service = client.CLIENTS[guarded.name]
    with service(ChannelSettings(target=guarded.address, token=SecretStr(guarded.right))) as called:
        for uri in filter(None, outside):
            with pytest.raises(ForbiddenError):
                called.start(inputs=[], output=uri)
            with pytest.raises(ForbiddenError):
                called.start(inputs=[uri], output=f"{guarded.store}/made")
        if isinstance(called, client.Tokenizer):
            for uri in outside:
                with pytest.raises(ForbiddenError):
                    list(called.encode(["x"], uri))
        assert not list(called.operations())


def test_certificates_do_instead_of_tokens(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    server = authority.issue("server.test")
    known, other, foreign = authority.issue("known.test"), authority.issue("other.test"), stranger.issue("known2.test")
    callers = tmp_path / "callers.yaml"
    callers.write_text('- name: known\n  certificate: known.test\n  scopes: ["filter:online"]\n')
    (tmp_path / "store").mkdir()
    environment = {
        "CALLERS_FILE": str(callers),
        "CERT_FILE": str(server.cert),
        "KEY_FILE": str(server.key),
        "CLIENT_CA_FILE": str(authority.file),
    }
    given = {f"REPOLOOM_SERVER_{name}": value for name, value in environment.items()}
    file = File(repo="a", path="a.py", content=b"import os\n\n\ndef answer() -> int:\n    return 41\n")
    with ServiceProcess("filter", tmp_path / "store", tmp_path / "log", **given) as running:

        def filtered(cert_file: Path | None, key_file: Path | None) -> list[str]:
            settings = ChannelSettings(
                target=running.address, ca_file=authority.file, cert_file=cert_file, key_file=key_file
            )
            with client.Filter(settings, stream_seconds=10) as called:
                return [row.path for row in called.files([file])]

        assert filtered(known.cert, known.key) == ["a.py"]
        with pytest.raises(StatusError) as refused:
            filtered(other.cert, other.key)
        assert refused.value.code is Code.UNAUTHENTICATED
        for cert_file, key_file in ((foreign.cert, foreign.key), (None, None)):
            with pytest.raises((UnavailableError, StatusError)):
                filtered(cert_file, key_file)
        with client.Filter(
            ChannelSettings(target=running.address, ca_file=authority.file, cert_file=known.cert, key_file=known.key)
        ) as called:
            with pytest.raises(StatusError) as denied:
                list(called.operations())
            assert denied.value.code is Code.PERMISSION_DENIED
