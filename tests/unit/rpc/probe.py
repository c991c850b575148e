"""A small service for the tests of the plumbing: `python probe.py` serves it as the environment says."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import Any

import grpc

from repoloom import errors
from repoloom.errors import TooLargeError
from repoloom.rpc.call import current_call
from repoloom.rpc.channel import open_aio_channel
from repoloom.rpc.errors import FieldError, OverloadedError, StatusError
from repoloom.rpc.server import Running, running, serve
from repoloom.rpc.service import Service
from repoloom.rpc.settings import ChannelSettings, ServerSettings, from_environment
from repoloom.telemetry.logging import configure

NAME = "probe.v1.Probe"
SECRET = "hunter2-hunter2"
ERRORS: dict[str, Exception] = {
    "input": errors.InputError("the recipe is no YAML"),
    "field": FieldError("params.max_line", "must be above 0"),
    "corrupt": errors.CorruptDataError("part 3 is not what was committed"),
    "store": errors.StoreError("the disk is full; free some space"),
    "unavailable": errors.UnavailableError("no such host"),
    "overloaded": OverloadedError("come back", 2.5),
    "too large": TooLargeError("a file of 1 GiB"),
    "status": StatusError(grpc.StatusCode.NOT_FOUND, "there is no operation 7"),
    "family": errors.RepoloomError("this and that"),
    "leak": ValueError(f"connection to s3://user:{SECRET}@host failed"),
    "secret": errors.InputError(f"cannot fetch https://user:{SECRET}@host/x"),
}


async def echo(request: bytes, _: object) -> bytes:
    return request


async def fail(request: bytes, _: object) -> bytes:
    raise ERRORS[request.decode()]


async def hold(request: bytes, _: object) -> bytes:
    """Answers after some seconds."""
    await asyncio.sleep(float(request))
    return b"done"


async def size(request: bytes, _: object) -> bytes:
    """Answers with so many bytes."""
    return bytes(int(request))


async def context(request: bytes, _: object) -> bytes:
    """What the call knows of itself, or what a call made meanwhile, to the target given, knows."""
    call = current_call()
    assert call is not None
    if request:
        async with open_aio_channel(ChannelSettings(target=request.decode())) as channel:
            return await channel.unary_unary(f"/{NAME}/Context")(b"")
    in_thread = await asyncio.to_thread(current_call)
    assert in_thread is call
    return json.dumps({"id": call.request_id, "remaining": call.remaining, "caller": call.caller.name}).encode()


async def count(request: bytes, _: object) -> AsyncIterator[bytes]:
    """Counts, so many, so many seconds apart."""
    most, apart = request.split()
    for number in range(int(most)):
        await asyncio.sleep(float(apart))
        yield b"%d" % number


async def chat(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def total(requests: AsyncIterator[bytes], _: object) -> bytes:
    return b"%d" % sum([len(request) async for request in requests])


METHODS: dict[str, Any] = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Hold": grpc.unary_unary_rpc_method_handler(hold),
    "Size": grpc.unary_unary_rpc_method_handler(size),
    "Context": grpc.unary_unary_rpc_method_handler(context),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Total": grpc.stream_unary_rpc_method_handler(total),
}
SERVICE = Service(NAME, METHODS, {**dict.fromkeys(METHODS, "probe:online"), "Size": "probe:batch"})


@contextlib.contextmanager
def served(service: Service = SERVICE, **settings: Any) -> Iterator[Running]:
    """A real server on loopback, in a thread of its own."""
    ready: Future[tuple[Running, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    given = ServerSettings(address=settings.pop("address", "127.0.0.1:0"), drain_seconds=5, **settings)

    async def main() -> None:
        try:
            async with running([service], given) as server:
                stop = asyncio.Event()
                ready.set_result((server, asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        server, loop, stop = ready.result()
        yield server
    finally:
        if not ready.exception():
            loop.call_soon_threadsafe(stop.set)
        thread.join()


if __name__ == "__main__":
    configure()
    serve([SERVICE], from_environment(ServerSettings, "PROBE", os.environ))
