"""`repoloom jobs`: how a job ended, and what the shell is told of names."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import typer
from completing import completed
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2

from repoloom.cli import jobs
from repoloom.cli.app import app
from repoloom.client import CLIENTS, Operation
from repoloom.protos.jobs.v1.jobs_pb2 import JobMetadata, State
from repoloom.rpc.catalog import Name
from repoloom.rpc.errors import DOMAIN
from repoloom.rpc.settings import ChannelSettings
from repoloom.up.find import health


def _failed() -> Operation:
    """A job that ended with an InputError."""
    status = status_pb2.Status(code=3, message="size: 9 is too much")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INVALID_INPUT", domain=DOMAIN))
    operation = operations_pb2.Operation(name=f"operations/filter/{'0' * 32}", done=True, error=status)
    operation.metadata.Pack(JobMetadata(state=State.STATE_FAILED))
    return Operation(None, operation)


def test_a_job_that_failed_is_no_mistake_of_who_watches_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def found(*_: object) -> Iterator[Operation]:
        yield _failed()

    monkeypatch.setattr("repoloom.cli.jobs._job", found)
    with pytest.raises(SystemExit) as ended:
        app(["jobs", "watch", "filter/00000000"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("\nerror: size: 9 is too much\n")


def test_wrong_parameters_are_said_with_their_line_before_any_service_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = tmp_path / "filter.yaml"
    parameters.write_text("\nmax_line_lenght: 7\n")
    with pytest.raises(SystemExit) as ended:
        app(["jobs", "start", "filter", "--output", "x", "--target", "localhost:1", "--parameters", str(parameters)])
    assert ended.value.code == 2
    said = "max_line_lenght: there is no such key; did you mean 'max_line_length'? Allowed here: "
    assert capsys.readouterr().err.startswith(f"error: {parameters}:2: {said}")


@pytest.mark.parametrize("services", ["filter=localhost:1", "nonsense=x", ""])
def test_names_of_jobs_are_no_matter_where_no_service_answers(services: str) -> None:
    assert completed("jobs", "watch", "", REPOLOOM_SERVICES=services) == []


@pytest.fixture
def silent_target() -> Iterator[str]:
    """A server that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_names_of_jobs_wait_shortly_for_each_word_and_none_costs_the_others_theirs(
    silent_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def asked(name: str, settings: ChannelSettings, seconds: float) -> bool | None:
        waited.append(seconds)
        return health(name, settings, seconds)

    class Client:
        """Of a service that has a job."""

        def __init__(self, settings: ChannelSettings) -> None:
            waited.append(settings.call_seconds)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def operations(self) -> list[Operation]:
            return [_failed()]

    monkeypatch.setattr("repoloom.up.find.health", asked)
    monkeypatch.setitem(CLIENTS, Name.FILTER, Client)
    monkeypatch.setattr(jobs, "_TAB_SECONDS", 0.25)
    monkeypatch.setenv("REPOLOOM_SERVICES", f"{silent_target},nonsense=x,filter=localhost:1")
    command = typer.main.get_command(jobs.app)
    assert jobs._names(typer.Context(command)) == ["filter/00000000"]
    assert waited == [0.25, 0.25]


def _listed(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[object, str]:
    """The exit code and the error of `jobs` where no service can be asked."""
    with pytest.raises(SystemExit) as ended:
        app(["jobs", *options, "--target", "filter=localhost:1", "--target", "deduper=localhost:1"])
    return ended.value.code, capsys.readouterr().err


def test_a_token_that_cannot_be_read_is_a_wrong_setting_to_the_list_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOLOOM_CLIENT_TOKEN_FILE", "/nowhere/token")
    said = "error: cannot read the token in /nowhere/token; is it there, and yours to read?\n"
    assert _listed(capsys) == (2, said)


def test_where_no_service_answers_all_are_named_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOLOOM_CLIENT_ATTEMPTS", "2")
    code, said = _listed(capsys)
    assert code == 1
    assert said.startswith("error: filter: ")
    assert "; deduper: " in said
    assert said.count("\n") == 1
