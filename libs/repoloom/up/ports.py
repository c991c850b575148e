"""The ports of the stack: one after another from a base, so that addresses stay over a restart; all on loopback."""

import contextlib
import socket
from collections.abc import Iterable, Mapping

from repoloom.errors import UnavailableError

HOST = "127.0.0.1"


def choose(names: Iterable[str], base: int) -> Mapping[str, str]:
    """An address for each name: base + 1 and on; free ones for the base 0. Raises UnavailableError if one is taken."""
    addresses = {}
    with contextlib.ExitStack() as stack:  # all are held at once, so no two are the same
        for number, name in enumerate(names, 1):
            port = base + number if base else 0
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
                listener.listen()
            except OSError as error:
                raise UnavailableError(
                    f"port {port}, for {name}, is taken ({error.strerror}); end what listens there, or move all with "
                    f"--port {base + 100}, or take free ones with --port 0"
                ) from None
            addresses[name] = f"{HOST}:{listener.getsockname()[1]}"
    return addresses
