"""One way to start a gRPC server: with health, reflection, credentials, limits and an orderly end."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from repoloom.errors import InputError
from repoloom.rpc import health as healths
from repoloom.rpc.admission import Admission
from repoloom.rpc.callers import CallersFile
from repoloom.rpc.dispatch import Dispatcher
from repoloom.rpc.health import Health
from repoloom.rpc.security import server_credentials
from repoloom.rpc.service import ANY_CALLER, Service, generated
from repoloom.rpc.settings import ServerSettings, split_address
from repoloom.telemetry import endpoint, tracing

_logger = logging.getLogger(__name__)
_LAST_SECONDS = 5  # for statuses that are on their way when the last call has ended
_PING_SECONDS = 10  # clients that ping more often are sent away


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    address: str
    metrics_port: int | None


def serve(services: Sequence[Service], settings: ServerSettings) -> None:
    """Serves until SIGTERM or SIGINT, drains, and returns; a second signal ends what still runs.

    Raises InputError where the settings cannot be had: an address in use, a file that cannot be read.
    """
    with tracing.exporting(services[0].name), contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(services, settings))
    _logger.info("stopped")


@contextlib.asynccontextmanager
async def running(services: Sequence[Service], settings: ServerSettings) -> AsyncIterator[Running]:
    """Serves while the block runs, then drains.

    To drain: health says NOT_SERVING, new calls are refused, running ones get `drain_seconds`, and what is not done
    then ends with UNAVAILABLE. The connections end before the services do, which may take a while: only then do
    clients look for another address. Raises InputError.
    """
    admission = Admission()
    health = Health((service.name for service in services), watchers=settings.max_connections)  # a client watches once
    server = grpc.aio.server(options=_options(settings))
    callers = CallersFile(settings.callers_file) if settings.callers_file else None
    served = (*services, _reflection(services))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)  # first: the dispatcher answers for all that is left
    server.add_generic_rpc_handlers((Dispatcher(served, settings, callers, admission),))
    async with contextlib.AsyncExitStack() as stack:
        metrics_port = None
        if settings.metrics_address:
            host, port = split_address(settings.metrics_address)
            metrics_port = stack.enter_context(endpoint.serving(host, int(port), lambda: health.serving))
        address = _listen(server, settings)
        await server.start()
        stack.push_async_callback(_stop, server, health)
        for service in services:
            await stack.enter_async_context(service.life())
        stack.push_async_callback(_drain, server, admission, health, settings.drain_seconds)
        admission.open()
        health.set(True)
        yield Running(address, metrics_port)


async def _until_signal(services: Sequence[Service], settings: ServerSettings) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with running(services, settings) as server:
        _logger.info("serving", extra={"fields": {"address": server.address, "metrics_port": server.metrics_port}})
        await asyncio.Event().wait()


async def _drain(server: grpc.aio.Server, admission: Admission, health: Health, seconds: float) -> None:
    _logger.info("draining")
    health.set(False)
    if not await admission.drain(seconds):
        _logger.warning("some calls were not done after %g s", seconds)
    await _stop(server, health)


async def _stop(server: grpc.aio.Server, health: Health) -> None:
    health.close()
    await server.stop(_LAST_SECONDS)


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> str:
    credentials = server_credentials(settings)
    try:
        if credentials is None:
            port = server.add_insecure_port(settings.address)
        else:
            port = server.add_secure_port(settings.address, credentials)
    except RuntimeError as error:
        raise InputError(f"cannot listen at {settings.address}: it is in use, or not of this machine") from error
    head, colon, _ = settings.address.rpartition(":")
    return settings.address if settings.address.startswith("unix") else f"{head}{colon}{port}"


def _reflection(services: Sequence[Service]) -> Service:
    names = (*(service.name for service in services), healths.NAME, reflection.SERVICE_NAME)
    return generated(
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server,
        reflection.aio.ReflectionServicer(names),
        scopes={"ServerReflectionInfo": ANY_CALLER},
    )


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.connection_idle_seconds)),
        ("grpc.max_connection_age_ms", _milliseconds(settings.connection_age_seconds)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.call_seconds)),  # no call is cut for it
        ("grpc.keepalive_time_ms", _milliseconds(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(_PING_SECONDS)),
        ("grpc.http2.max_ping_strikes", 2),
        # Messages come as they are: gRPC inflates a compressed one before it looks at its size, so that 16 MiB of a
        # hostile one became 16 GiB (grpcio 1.81: 400 KiB sent, 400 MiB resident).
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.so_reuseport", 0),  # a second server at the same address is an error, not a lottery
    ]


def _milliseconds(seconds: float) -> int:
    return min(int(seconds * 1000), (1 << 31) - 1)
