"""Asks a model from a pod: `python completions.py answers|load|drain HOST …`; says what came of it in a line of JSON.

What is wrong with an answer ends the program with an error.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

from repoloom.client import Inference

TLS = Path("/etc/repoloom/tls")
STREAMS = 8  # of 16 answers each: more than a fast machine writes before a pod that is stopped takes nothing new
TOKEN = Path("/etc/repoloom/caller/token").read_text()
ASKED: dict[str, Any] = {"prompt": "def add(a, b):\n", "suffix": "\n", "max_tokens": 8, "temperature": 0}


@contextmanager
def post(host: str, address: str, body: dict[str, Any], *, known: bool = True) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request on a connection of its own; `known`: with a client's certificate."""
    context = ssl.create_default_context(cafile=TLS / "ca.crt")
    if known:
        context.load_cert_chain(TLS / "tls.crt", TLS / "tls.key")
    connection = http.client.HTTPConnection(host, 8000)
    connection.sock = context.wrap_socket(socket.create_connection((address, 8000), 120), server_hostname=host)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield answer
    finally:
        connection.close()


def whole(host: str) -> dict[str, Any]:
    with post(host, host, ASKED) as answer:
        return dict(json.load(answer))


def streamed(host: str, address: str, begun: Callable[[], None] = lambda: None, **asked: Any) -> dict[int, str]:
    """The texts of a streamed answer by choice, each of which came to its end; `begun` is told that it is taken."""
    with post(host, address, {**ASKED, **asked, "stream": True}) as answer:
        begun()
        events = [line.decode().strip().removeprefix("data: ") for line in answer if line.strip()]
    assert events.pop() == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in events]
    ended = {choice["index"] for choice in choices if choice["finish_reason"]}
    assert ended == set(range(asked.get("n", 1)))
    return {index: "".join(choice["text"] for choice in choices if choice["index"] == index) for index in ended}


def called(model: Inference) -> str:
    return "".join(piece.text for piece in model.complete(ASKED["prompt"], ASKED["suffix"], max_tokens=8, seconds=60))


def answers(host: str) -> dict[str, Any]:
    """The same answer over HTTP, whole and streamed, and over gRPC; none for a client without a certificate."""
    answer = whole(host)
    assert streamed(host, host) == {0: answer["choices"][0]["text"]}
    with Inference(f"{host}:8001") as model:
        assert called(model) == answer["choices"][0]["text"]
    try:
        with post(host, host, ASKED, known=False):
            raise SystemExit("a client without a certificate was answered")
    except (ssl.SSLError, ConnectionError) as error:
        return {**answer, "refused": str(error)}


def load(host: str) -> dict[str, Any]:
    """Asks all the time, until SIGTERM: how often each way was answered, and by which models, one after another."""
    over = Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    models = []

    def all_the_time(ask: Callable[[], object]) -> int:
        count = 0
        try:
            while not over.wait(0.1):
                ask()
                count += 1
        finally:
            over.set()
        return count

    with ThreadPoolExecutor() as pool, Inference(f"dns:///{host}:8001") as model:
        ways = (
            lambda: models.append(whole(host)["system_fingerprint"]),
            lambda: streamed(host, host),
            lambda: called(model),
        )
        counts = list(pool.map(all_the_time, ways))
    return {"answers": counts, "models": [name for name, _ in groupby(models)]}


def drain(host: str, address: str) -> dict[str, Any]:
    """Streams long answers from one pod, says so, and waits for the pod to take nothing new: how many went on then."""
    with ThreadPoolExecutor(STREAMS) as pool:
        begun = [Event() for _ in range(STREAMS)]
        asked = {"n": 16, "max_tokens": 200, "temperature": 0}
        streams = [pool.submit(streamed, host, address, event.set, **asked) for event in begun]
        assert all(event.wait(60) for event in begun)
        print("streaming", flush=True)
        while _listens(address):
            time.sleep(0.05)
        open_streams = sum(not stream.done() for stream in streams)
        return {"open": open_streams, "ended": [len(stream.result()) for stream in streams]}


def _listens(address: str) -> bool:
    try:
        socket.create_connection((address, 8000), 1).close()
    except ConnectionRefusedError:
        return False
    return True


os.environ |= {"REPOLOOM_CLIENT_CERT_FILE": str(TLS / "tls.crt"), "REPOLOOM_CLIENT_KEY_FILE": str(TLS / "tls.key")}
command, *arguments = sys.argv[1:]
COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {"answers": answers, "load": load, "drain": drain}
print(json.dumps(COMMANDS[command](*arguments)))
