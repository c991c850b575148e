"""A faulty network between a client and an HTTP server: what it does to a request is drawn by a seed."""

import contextlib
import hashlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_CHUNK = 1 << 16
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


class Fault(StrEnum):
    """What happens to a request."""

    ERROR_500 = "500"  # the server never sees it
    ERROR_503 = "503"
    DELAY = "delay"
    CUT_UPLOAD = "cut upload"  # half of the body reaches the server
    FLIP_UPLOAD = "flip upload"  # one bit of the body arrives otherwise
    LOST_ANSWER = "lost answer"  # the server did it, and the client never hears of it
    TRUNCATE = "truncate"  # half of the answer's body
    FLIP = "flip"  # one bit of an object that is read
    STALE_LISTING = "stale listing"  # an S3 listing as it was the first time


class FaultyProxy:
    """Forwards requests to a server on this machine. Whether the n-th like request meets a fault depends on nothing
    but the seed, so that threads may come in any order."""

    def __init__(self, target: str, rates: Mapping[Fault, float] | None = None, seed: int = 0) -> None:
        """`target` is host:port; `rates` are the probabilities of the faults, and may be changed at any time."""
        self.target = target
        self.rates = dict(rates or {})
        self.seed = seed
        self.happened: Counter[Fault] = Counter()
        self.requests = 0
        self.listings: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.running = threading.Event()
        self.running.set()
        self._seen: Counter[str] = Counter()
        self._port = 0
        self._server: _Server | None = None

    def __enter__(self) -> "FaultyProxy":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self.stop()

    @property
    def address(self) -> str:
        """host:port, the same after a stop and a start."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Takes connections."""
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Cuts all connections and refuses new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut()

    def pause(self) -> None:
        """Leaves requests without an answer until resume."""
        self.running.clear()

    def resume(self) -> None:
        """Goes on with what was held."""
        self.running.set()

    def answered(self, request: str, status: int) -> None:
        """Is told how the server answered, whatever then becomes of the answer."""

    def draw(self, request: str) -> Fault | None:
        """The fault that a request meets."""
        with self.lock:
            self.requests += 1
            self._seen[request] += 1
            identity = f"{self.seed} {request} {self._seen[request]}".encode()
            draw = int.from_bytes(hashlib.sha256(identity).digest()[:8], "big") / 2**64
            for fault, rate in self.rates.items():
                if draw < rate:
                    self.happened[fault] += 1
                    return fault
                draw -= rate
            return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: FaultyProxy) -> None:
        super().__init__(address, _Handler)
        self.proxy = proxy
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to speak of."""

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        proxy = self.server.proxy
        proxy.running.wait()
        fault = proxy.draw(f"{self.command} {self.path.partition('uploadId')[0]}")
        if fault is Fault.DELAY:
            time.sleep(0.3)
        body = self._body()
        if fault in (Fault.ERROR_500, Fault.ERROR_503):
            for _ in body:
                pass
            self._refuse(int(fault))
            return
        connection = HTTPConnection(proxy.target, timeout=60)
        try:
            self._forward(connection, body, fault)
            if fault is Fault.CUT_UPLOAD:
                self.close_connection = True
                return
            response = connection.getresponse()
            proxy.answered(f"{self.command} {self.path}", response.status)
            self._answer(response, fault)
        except (OSError, HTTPException):
            self.close_connection = True
        finally:
            connection.close()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody reads it."""

    @property
    def _length(self) -> int:
        return int(self.headers.get("content-length", 0))

    def _body(self) -> Iterator[bytes]:
        left = self._length
        while left and (chunk := self.rfile.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk

    def _forward(self, connection: HTTPConnection, body: Iterator[bytes], fault: Fault | None) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                connection.putheader(name, value)
        connection.endheaders()
        sent = 0
        for chunk in body:
            if fault is Fault.CUT_UPLOAD and sent + len(chunk) > self._length // 2:
                connection.send(chunk[: self._length // 2 - sent])
                break
            connection.send(_flip(chunk) if fault is Fault.FLIP_UPLOAD and not sent else chunk)
            sent += len(chunk)
        for _ in body:
            pass

    def _answer(self, response: HTTPResponse, fault: Fault | None) -> None:
        if fault is Fault.LOST_ANSWER:
            response.read()
            self.close_connection = True
            return
        stale = self._stale(response, fault)
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", response.getheader("content-length", "0"))
            self.end_headers()
            return
        length = response.length if stale is None else len(stale)
        chunked = length is None
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length))))
        self.end_headers()
        sent = 0
        harmed = fault is Fault.FLIP and self.command == "GET" and response.status < 300 and stale is None
        content = iter(lambda: response.read(_CHUNK), b"") if stale is None else iter([stale])
        for chunk in content:
            if fault is Fault.TRUNCATE and (chunked or sent + len(chunk) > (length or 0) // 2):
                self.wfile.write(chunk[: len(chunk) // 2] if chunked else chunk[: (length or 0) // 2 - sent])
                self.close_connection = True
                return
            passed = _flip(chunk) if harmed and not sent else chunk
            self.wfile.write(b"%x\r\n%s\r\n" % (len(passed), passed) if chunked else passed)
            sent += len(chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _stale(self, response: HTTPResponse, fault: Fault | None) -> bytes | None:
        """The body of a listing: as it is, or as it was the first time."""
        if self.command != "GET" or "list-type=2" not in self.path or response.status != 200:
            return None
        now = response.read()
        first = self.server.proxy.listings.setdefault(self.path, now)
        return first if fault is Fault.STALE_LISTING else now

    def _refuse(self, status: int) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _flip(chunk: bytes) -> bytes:
    middle = len(chunk) // 2
    return chunk[:middle] + bytes([chunk[middle] ^ 1]) + chunk[middle + 1 :] if chunk else chunk
