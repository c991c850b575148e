"""Connections over HTTP that bring no request: they end, and their places are others'."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from certificates import Authority
from inference_server import Server

QUIET = 0.5
HEAD = b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n"
UNFINISHED = b"GET /readyz HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 100
UPLOAD = b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n"
PATIENCE = 10.0  # seconds, on a machine that does other things too


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


@pytest.fixture
def server(serve: Callable[..., Server], scheme: str, authority: Authority) -> Server:
    pair = authority.issue("server.example")
    files = {"cert_file": pair.cert, "key_file": pair.key} if scheme == "https" else {}
    return serve(settings={**files, "quiet_seconds": QUIET, "max_connections": 4})


@pytest.fixture
def connect(server: Server, scheme: str, trusting: ssl.SSLContext) -> Iterator[Callable[[], socket.socket]]:
    host, _, port = server.http.rpartition(":")
    with contextlib.ExitStack() as stack:

        def connection() -> socket.socket:
            plain = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            return plain if scheme == "http" else stack.enter_context(trusting.wrap_socket(plain, server_hostname=host))

        yield connection


def ends(connection: socket.socket, drip: bytes = b"") -> bool:
    """Whether the server ends it while bytes are sent one at a time, each sooner than it waits for one."""
    connection.settimeout(QUIET / 5 if drip else PATIENCE)
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        for byte in drip or b"x":
            with contextlib.suppress(TimeoutError):
                while connection.recv(1 << 16):
                    pass
                return True
            if drip:
                connection.send(bytes([byte]))
        return False
    return True


def test_connections_that_send_nothing_keep_nobody_out_for_long(
    server: Server, scheme: str, trusting: ssl.SSLContext, connect: Callable[[], socket.socket]
) -> None:
    silent = [connect() for _ in range(4)]
    with httpx2.Client(base_url=f"{scheme}://{server.http}", verify=trusting) as client:
        assert client.get("/readyz", headers={"Connection": "close"}).status_code == 503
        assert all(ends(connection) for connection in silent)
        assert client.get("/readyz").status_code == 200


def test_a_head_that_comes_a_byte_at_a_time_is_not_waited_for(connect: Callable[[], socket.socket]) -> None:
    assert ends(connect(), UNFINISHED)


@pytest.mark.parametrize(("answered", "more"), [(HEAD, UNFINISHED), (UPLOAD, b"x" * 100)], ids=["next", "left"])
def test_nor_is_the_next_one_or_what_is_left_of_an_answered_request(
    connect: Callable[[], socket.socket], answered: bytes, more: bytes
) -> None:
    connection = connect()
    connection.sendall(answered)
    assert connection.recv(1 << 16)
    assert ends(connection, more)


def test_a_connection_is_kept_from_one_request_to_the_next(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    for _ in range(2):
        connection.sendall(HEAD)
        answer = b""
        while not answer.endswith(b"OK\n"):
            answer += connection.recv(1 << 16)
        time.sleep(2 * QUIET)
