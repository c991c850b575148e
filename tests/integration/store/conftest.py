"""Puts real S3 servers, and the faults between them and a client, at the tests' hand."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repoloom.stages

_TESTS = Path(__file__).parents[2]
sys.path += [str(_TESTS / "faults"), str(_TESTS / "extra_stages")]
repoloom.stages.__path__.append(str(_TESTS / "extra_stages" / "stages"))

import s3_servers  # noqa: E402 - it lies in the folder just added
from s3_servers import S3Server  # noqa: E402

from repoloom.store import Store, open_store  # noqa: E402


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """rclone's server: heeds neither If-None-Match nor If-Match."""
    with s3_servers.serve("rclone", tmp_path_factory.mktemp("rclone") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """MinIO's server: heeds both."""
    with s3_servers.serve("minio", tmp_path_factory.mktemp("minio") / "data") as running:
        yield running


@pytest.fixture(params=s3_servers.kinds())
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each S3 server in turn."""
    running: S3Server = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture
def here(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a place of its own on the server, which this process's environment names."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://tests/{tmp_path.name}"


@pytest.fixture(params=["folder", *s3_servers.kinds()])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind of store in turn."""
    if request.param == "folder":
        return open_store(str(tmp_path / "prefix"))
    server = request.getfixturevalue(f"{request.param}_server")
    monkeypatch = request.getfixturevalue("monkeypatch")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://tests/{tmp_path.name}")
