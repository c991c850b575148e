"""A small HTTP endpoint for machines that watch: /metrics for Prometheus, /healthz and /readyz for probes."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from repoloom.errors import InputError
from repoloom.telemetry.metrics import CONTENT_TYPE, exposition

_SECONDS = 10  # that a connection may be silent
_CONNECTIONS = 16  # at once, each with a thread of its own


@contextlib.contextmanager
def serving(
    host: str, port: int, healthy: Callable[[], bool] = lambda: True, ready: Callable[[], bool] | None = None
) -> Iterator[int]:
    """Answers at an address while the block runs; yields the port, which is chosen where 0 is given. Raises InputError.

    Whoever is healthy is ready too, unless `ready` says otherwise.

    Bind it to loopback or to an address that only the monitoring reaches: what it says is no secret, but nobody's
    business.
    """

    class Handler(_Handler):
        checks = {"/healthz": healthy, "/readyz": ready or healthy}

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise InputError(f"cannot serve metrics at {host}:{port}: {error.strerror or error}; choose another") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a reader that hangs must not keep the process

    def __init__(self, address: tuple[str, int], handler: type["_Handler"]) -> None:
        super().__init__(address, handler)
        self._open: deque[socket.socket] = deque()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own types
        """Answers in a thread. For one connection too many the oldest goes: those that ask at once are long done."""
        self._open.append(request)
        if len(self._open) > _CONNECTIONS:
            with contextlib.suppress(IndexError, OSError):  # it ended meanwhile
                self._open.popleft().shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Is called where a connection ends, however it does."""
        with contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    checks: Mapping[str, Callable[[], bool]]

    def do_GET(self) -> None:
        """Answers one request."""
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE, exposition())
        elif check := self.checks.get(self.path):
            status = HTTPStatus.OK if check() else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "text/plain", status.phrase.encode() + b"\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"here are /metrics, /healthz and /readyz\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Probes come every few seconds; nobody reads of them."""

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
