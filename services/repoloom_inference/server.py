"""The life of the server: probes first, then the model, then calls; and back in an order that drops none."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import uvicorn

from repoloom.errors import InputError
from repoloom.rpc.server import running
from repoloom.rpc.settings import ServerSettings, split_address
from repoloom.telemetry import endpoint
from repoloom_inference.connection import Connection
from repoloom_inference.grpc_service import service
from repoloom_inference.http import app
from repoloom_inference.served import Served
from repoloom_inference.settings import InferenceSettings
from repoloom_inference.state import State
from repoloom_inference.tls import server_context

_logger = logging.getLogger(__name__)
_LISTEN = 1024  # connections that wait to be accepted
_KEEP_ALIVE_SECONDS = 75  # longer than proxies keep theirs, so that none sends a request into one that is being closed
_HEAD_SECONDS = 30  # at most, until a connection has brought the head of a request


@dataclass(frozen=True)
class Setup:
    """What is served, and how."""

    model: str
    digest: str | None
    inference: InferenceSettings
    http: ServerSettings
    grpc: ServerSettings


def serve(setup: Setup) -> None:
    """Serves until SIGTERM or SIGINT, lets what runs finish within the drain's time, and returns.

    Raises InputError, CorruptDataError where the model or an address cannot be had.
    """
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(setup))


async def _until_signal(setup: Setup) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with serving(setup) as addresses:
        _logger.info("serving", extra={"fields": addresses})
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving(setup: Setup) -> AsyncIterator[dict[str, object]]:
    """Serves while the block runs; where, by face. Then calls over HTTP and gRPC have the drain's time to finish."""
    state = State()
    async with contextlib.AsyncExitStack() as stack:
        watched = None
        if setup.grpc.metrics_address:  # without TLS or callers, for probes, which have no certificate
            host, port = split_address(setup.grpc.metrics_address)
            watched = stack.enter_context(endpoint.serving(host, int(port), lambda: state.alive, lambda: state.ready))
        stack.push_async_callback(asyncio.to_thread, state.stop)
        http = await stack.enter_async_context(_http(state, setup))
        settings = setup.grpc.model_copy(update={"metrics_address": None})
        grpc = await stack.enter_async_context(running([service(state, lambda: _loaded(state, setup))], settings))
        stack.callback(http.close)
        stack.callback(setattr, state, "draining", True)
        yield {"address": grpc.address, "http_address": http.address, "metrics_port": watched}


@contextlib.asynccontextmanager
async def _loaded(state: State, setup: Setup) -> AsyncIterator[None]:
    """Loads the model, and has it answer once before others may ask."""
    served = await asyncio.to_thread(Served.load, setup.model, setup.digest, setup.inference)
    await served.warm()
    state.serve(served)
    _logger.info("the model answers", extra={"fields": {"digest": served.digest, "context": served.context}})
    yield


@dataclass(frozen=True)
class _Http:
    address: str
    close: Callable[[], None]  # takes no new connection from then on


@contextlib.asynccontextmanager
async def _http(state: State, setup: Setup) -> AsyncIterator[_Http]:
    """Answers over HTTP while the block runs, and until what runs then is done, or the drain's time is over."""
    settings = setup.http
    config = uvicorn.Config(
        app(state, settings, setup.inference.request_seconds),
        http=partial(Connection, head_seconds=min(settings.quiet_seconds, _HEAD_SECONDS)),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
    )
    config.load()
    config.ssl = server_context(settings)
    server = _Uvicorn(config)
    with _listening(settings.address) as listener:
        host, _ = split_address(settings.address)
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield _Http(f"{host}:{listener.getsockname()[1]}", lambda: setattr(server, "should_exit", True))
        finally:
            server.should_exit = True
            await task


def _listening(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=_LISTEN)
    except OSError as error:
        raise InputError(f"cannot listen at {address}: {error.strerror or error}; choose another") from error


class _Uvicorn(uvicorn.Server):
    """Leaves signals to this module."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
