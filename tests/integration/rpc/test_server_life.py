import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from rpc.probe import NAME, SERVICE, served

from repoloom.errors import InputError, UnavailableError
from repoloom.rpc.errors import raised_as_own
from repoloom.rpc.server import running
from repoloom.rpc.settings import ServerSettings

status = health_pb2.HealthCheckResponse


def test_health_is_told_while_the_server_starts_serves_and_drains(tmp_path: Path) -> None:
    socket = tmp_path / "probe"

    async def main() -> None:
        entered, go_on, started = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @asynccontextmanager
        async def life() -> AsyncIterator[None]:
            entered.set()
            await go_on.wait()
            yield

        async def serve() -> None:
            async with running([replace(SERVICE, life=life)], ServerSettings(address=f"unix:{socket}")):
                started.set()
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        await entered.wait()
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            echo = channel.unary_unary(f"/{NAME}/Echo")
            for name in ("", NAME):
                assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == status.NOT_SERVING
            with pytest.raises(UnavailableError, match="starting"), raised_as_own():
                await echo(b"early")
            leaves = health.Watch(health_pb2.HealthCheckRequest(service=NAME))
            stays = health.Watch(health_pb2.HealthCheckRequest(service=NAME))
            assert (await leaves.read()).status == (await stays.read()).status == status.NOT_SERVING
            go_on.set()
            await started.wait()
            assert (await leaves.read()).status == (await stays.read()).status == status.SERVING
            leaves.cancel()
            assert await echo(b"now") == b"now"
            chat = channel.stream_stream(f"/{NAME}/Chat")()
            await chat.write(b"before")
            assert await chat.read() == b"before"
            serving.cancel()
            assert (await stays.read()).status == status.NOT_SERVING
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == status.NOT_SERVING
            with pytest.raises(UnavailableError, match="stopping"), raised_as_own():
                await echo(b"late")
            await chat.write(b"after")
            assert await chat.read() == b"after"
            await chat.done_writing()
            assert await chat.read() is grpc.aio.EOF
            assert await chat.code() is grpc.StatusCode.OK
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())


def test_watchers_beyond_the_limit_are_refused_and_whoever_asks_once_is_answered() -> None:
    apart = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    with served(max_connections=2) as server, grpc.insecure_channel(server.address, apart) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=NAME)
        watchers = [health.Watch(request) for _ in range(2)]
        for watcher in watchers:
            assert next(watcher).status == status.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            next(health.Watch(request))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health.Check(request).status == status.SERVING
        watchers.pop().cancel()
        until = time.monotonic() + 20
        while True:  # its place is free when the server has heard of it
            with contextlib.suppress(grpc.RpcError):
                assert next(health.Watch(request)).status == status.SERVING
                break
            assert time.monotonic() < until


def test_reflection_lists_the_services() -> None:
    with served() as server, grpc.insecure_channel(server.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            NAME,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert database.FindFileContainingSymbol("grpc.health.v1.Health").package == "grpc.health.v1"


def test_a_service_that_cannot_begin_ends_the_server() -> None:
    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        raise InputError("there is no tokenizer")
        yield

    with pytest.raises(InputError, match="no tokenizer"), served(replace(SERVICE, life=life)):
        pass


def test_an_address_in_use_is_said_to_be_so() -> None:
    with (
        served() as server,
        pytest.raises(InputError, match=f"cannot listen at {server.address}: it is in use"),
        served(address=server.address),
    ):
        pass
