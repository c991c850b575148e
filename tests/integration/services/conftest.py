"""The services on a loopback port, in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from repoloom.rpc.server import running
from repoloom.rpc.service import Service
from repoloom.rpc.settings import ServerSettings
from repoloom_services import crawler, decontaminator, deduper, dependency_sorter, filter, quality_scorer, tokenizer  # noqa: A004
from repoloom_services.resources import Resources

MODULES = (crawler, decontaminator, deduper, dependency_sorter, filter, quality_scorer, tokenizer)


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
        executor = stack.enter_context(ThreadPoolExecutor(16))

        def start(benchmarks: Path | None = None, **settings: Any) -> str:
            resources = Resources(executor, str(tmp_path / "store"), benchmarks)
            services = [module.service(resources) for module in MODULES]
            given = {"address": "127.0.0.1:0", "drain_seconds": 5, **settings}
            return stack.enter_context(serving(services, ServerSettings(**given)))

        yield start
