"""The services on a loopback port, in a thread of the test's own process."""

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from repoloom.rpc.catalog import Name
from repoloom.rpc.server import running
from repoloom.rpc.service import Service
from repoloom.rpc.settings import ServerSettings
from repoloom_services.resources import Resources


@contextmanager
def serving(services: list[Service], settings: ServerSettings) -> Iterator[str]:
    """The address of a server that runs while the block does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()
    try:
        entering = asyncio.run_coroutine_threadsafe(stack.enter_async_context(running(services, settings)), loop)
        yield entering.result(30).address
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts all seven at one address; gives it. Keyword arguments are of ServerSettings; `benchmarks` of Resources."""
    with ExitStack() as stack:

        def start(benchmarks: Path | None = None, threads: int = 16, **settings: Any) -> str:
            executor = stack.enter_context(ThreadPoolExecutor(threads))
            resources = Resources(executor, str(tmp_path / "store"), benchmarks)
            services = [importlib.import_module(f"repoloom_services.{name}").service(resources) for name in Name]
            given = {"address": "127.0.0.1:0", "drain_seconds": 5, **settings}
            return stack.enter_context(serving(services, ServerSettings(**given)))

        yield start
