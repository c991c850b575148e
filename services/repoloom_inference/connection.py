"""A connection over HTTP: it tells whose certificate it bears, and ends where it brings no request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from repoloom_inference.tls import CERTIFICATE, certificate_names


class Connection(H11Protocol):
    """HTTP/1.1. uvicorn itself looks at the time only from an answer to the client's next byte."""

    def __init__(self, *arguments: Any, head_seconds: float, **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **given)
        self._head_seconds = head_seconds
        self._head: asyncio.TimerHandle | None = None  # when the head of a request is to be there

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if certificate := transport.get_extra_info("peercert"):
            names, app = certificate_names(certificate), self.app
            self.app = lambda scope, receive, send: app({**scope, CERTIFICATE: names}, receive, send)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """Ends the connection unless a whole head comes: of the next request, not what is left of an answered one."""
        if self._head is None:
            self._head = self.loop.call_later(self._head_seconds, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
