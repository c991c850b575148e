"""grpc.health.v1: whether each service answers calls now.

grpcio-health-checking has a servicer for grpc.aio, but there one watcher that leaves takes the others' notices with it.
It is asked without credentials, as clients and probes have none here; so the number of those who watch is bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

NAME = "grpc.health.v1.Health"
_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """The health of services; "" is the server's as a whole. It begins with none serving."""

    def __init__(self, services: Iterable[str], watchers: int) -> None:
        self._services = frozenset(("", *services))
        self._places = watchers
        self._changed = asyncio.Event()
        self.serving = False
        self._closed = False

    def set(self, serving: bool) -> None:
        """Says of all services whether they serve, to whoever asks or watches."""
        self.serving = serving
        self._notify()

    def close(self) -> None:
        """Sends the watchers home."""
        self._closed = True
        self._notify()

    async def Check(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return self._status(request.service)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        if not self._places:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "as many watch already as may; Check goes on")
        self._places -= 1
        try:
            said = None
            while not self._closed:
                changed = self._changed
                status = self._status(request.service)
                if status != said:
                    yield status
                    said = status
                await changed.wait()
        finally:
            self._places += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        return _Status(status=_Status.SERVING if self.serving else _Status.NOT_SERVING)

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
