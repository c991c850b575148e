"""Servers of a model: in a thread of the test's own process, and in one of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from evaluation.tiny import tiny_model

from repoloom.prompts import fim
from repoloom.rpc.settings import ServerSettings
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.training.export import export
from repoloom_inference.server import Setup, serving
from repoloom_inference.settings import InferenceSettings

TEXT = "def add(a, b):\n    return a + b\n\n\ndef double(number):\n    return add(number, number)\n"
CONTEXT = 512


@dataclass(frozen=True)
class Server:
    """Where a server is."""

    http: str
    grpc: str
    watched: str

    def post(self, **body: Any) -> httpx2.Response:
        """A completion over HTTP."""
        return httpx2.post(f"http://{self.http}/v1/completions", json=body, timeout=60)

    def metric(self, sample: str) -> float:
        """A sample of /metrics; 0 where there is none."""
        lines = httpx2.get(f"http://{self.http}/metrics", timeout=60).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample)


def exported(folder: Path) -> Path:
    """Exports a model to a new folder that is taught to fill holes in an order that is not the usual one."""
    tokenizer = train_tokenizer(iter([TEXT]), 290).to_str().encode()
    export(tiny_model(reads=CONTEXT, spread=0.3), tokenizer, folder, fim_order=fim.Order.SPM)
    return folder


@contextmanager
def served(
    model: Path, digest: str | None = None, settings: dict[str, Any] | None = None, **given: Any
) -> Iterator[Server]:
    """A server while the block runs; keyword arguments are of InferenceSettings."""
    inference = InferenceSettings(**{"http_address": "127.0.0.1:0", "slots": 4, **given})
    server = ServerSettings(
        **{"address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0", "drain_seconds": 10, **(settings or {})}
    )
    http = server.model_copy(update={"address": inference.http_address})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()
    try:
        entering = stack.enter_async_context(serving(Setup(str(model), digest, inference, http, server)))
        found = asyncio.run_coroutine_threadsafe(entering, loop).result(120)
        yield Server(str(found["http_address"]), str(found["address"]), f"127.0.0.1:{found['metrics_port']}")
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Process:
    """A real `repoloom-inference` while the block runs; killed at its end if it still is there."""

    def __init__(self, model: str, port: int, log: Path, **environment: str) -> None:
        self._log = log
        self.http = f"127.0.0.1:{port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("REPOLOOM_", "AWS_"))}
        addresses = {"REPOLOOM_INFERENCE_HTTP_ADDRESS": self.http, "REPOLOOM_SERVER_ADDRESS": "127.0.0.1:0"}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from repoloom_inference.main import main; main()", "--model", model],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**clean, "OMP_NUM_THREADS": "1", **addresses, **environment},
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_until_ready(self) -> None:
        until = time.monotonic() + 300
        while self.probe("/readyz") != 200:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {self.said}")
            time.sleep(0.1)

    def probe(self, path: str) -> int | None:
        """The status of a path; None where nobody answers."""
        try:
            return httpx2.get(f"http://{self.http}{path}", timeout=10).status_code
        except httpx2.TransportError:
            return None

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")
