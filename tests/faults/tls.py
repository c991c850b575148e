"""TLS before a server that has none."""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from certificates import Pair


@contextlib.contextmanager
def tls_before(port: int, server: Pair, client_ca: Path | None = None) -> Iterator[int]:
    """A port that takes TLS, from clients of `client_ca` alone where it is given, and hands on what is inside."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=_pass_on, args=(accepted, context, port), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pass_on(accepted: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(accepted)
        outer = stack.enter_context(context.wrap_socket(accepted, server_side=True))
        inner = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(outer, selectors.EVENT_READ, inner)
        selector.register(inner, selectors.EVENT_READ, outer)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                content = source.recv(1 << 16)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    content += source.recv(1 << 16)
                if not content:
                    return
                key.data.sendall(content)
