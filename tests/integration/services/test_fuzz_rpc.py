"""Whatever is sent to a service, it answers with the right kind of status, goes on, and keeps nothing of it.

REPOLOOM_FUZZ_MESSAGES says how many messages are sent to all services together, REPOLOOM_FUZZ_SEED what is drawn,
REPOLOOM_FUZZ_REPORT names a file to which each service's figures are appended.
"""

import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rpc.hostile import PYTHON, Hostile
from rpc.process import ServiceProcess
from rpc.reflected import Method, methods_of

from repoloom import client
from repoloom.errors import RepoloomError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import BenchmarkText
from repoloom.recipe.sections import section
from repoloom.rpc.catalog import Name
from repoloom.stages.tokenize.vocabulary import train

MESSAGES = int(os.environ.get("REPOLOOM_FUZZ_MESSAGES", "10000"))
SEED = os.environ.get("REPOLOOM_FUZZ_SEED", "0")
REPORT = os.environ.get("REPOLOOM_FUZZ_REPORT")
CLIENTS = 4
CALL_SECONDS = 60
CONNECTIONS = 8  # whose ends may not have been noticed

SHARES = {"dependency_sorter": 0.15, "crawler": 0.15}  # of the messages; the rest is shared out evenly
FORESEEN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.CANCELLED,  # the client's own
    grpc.StatusCode.DEADLINE_EXCEEDED,  # likewise
}
NOWHERE = "http://127.0.0.1:9"  # nothing listens there
OFFLINE = {
    "PIP_INDEX_URL": NOWHERE,
    "NPM_CONFIG_REGISTRY": NOWHERE,
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
}
TOKENIZER = train(iter([PYTHON.decode()] * 20), 400).to_str().encode()


class Fuzz:
    """Calls a service with what `Hostile` draws, and counts how the calls end."""

    def __init__(self, server: ServiceProcess, name: str, words: Mapping[str, Any]) -> None:
        self.ends: Counter[str] = Counter()
        self.unforeseen: list[str] = []
        self.messages = 0
        self._server = server
        self._name = name
        self._words = words
        self._lock = threading.Lock()

    def run(self, first: int, messages: int) -> None:
        """Sends so many messages; `first` numbers the seeds of the clients."""
        enough = self.messages + messages
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(
                clients.map(
                    lambda number: self._client(f"{SEED}/{self._name}/{first + number}", enough), range(CLIENTS)
                )
            )

    def _client(self, seed: str, enough: int) -> None:
        hostile = Hostile(seed, self._words, TOKENIZER)
        with grpc.insecure_channel(self._server.address) as channel:
            methods = [method for method in methods_of(channel) if not method.service.startswith("grpc.health.")]
            own = [method for method in methods if method.service.startswith(f"repoloom.{self._name}.")]
            while self.messages < enough:
                self._call(channel, hostile.random.choice(own if hostile.random.random() < 0.6 else methods), hostile)

    def _call(self, channel: grpc.Channel, method: Method, hostile: Hostile) -> None:
        if method.name == "WaitOperation":  # it goes on until the client has enough
            seconds = 0.2
        else:
            seconds = (
                hostile.random.choice((0.001, 0.02, CALL_SECONDS)) if hostile.random.random() < 0.05 else CALL_SECONDS
            )
        requests = hostile.requests(method.request, 8 if method.request_streaming else 1)
        leaves = hostile.random.randrange(3) if hostile.random.random() < 0.05 else None
        call = method.call(channel, iter(requests), seconds)
        try:
            for number, _ in enumerate(call):
                if number == leaves:
                    call.cancel()
        except grpc.RpcError:
            pass
        code = call.code()
        with self._lock:
            self.messages += max(1, len(requests))
            self.ends[f"{method.name} {code.name}"] += 1
            if code not in FORESEEN or (code is grpc.StatusCode.DEADLINE_EXCEEDED and seconds == CALL_SECONDS):
                self.unforeseen.append(
                    f"{method.path} {code.name} {call.details()}: {[some[:300] for some in requests]}"
                )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project/a.py").write_bytes(PYTHON)
    (tmp_path / "project/rows.jsonl").write_text('{"repo": "a", "path": "b.py", "content": "x"}\n{"repo": \n')
    (tmp_path / "benchmarks").mkdir()
    text = " ".join(f"word{number}" for number in range(12))
    (tmp_path / "benchmarks/exam.jsonl").write_text(json.dumps({"task_id": "exam/0", "prompt": text}) + "\n")
    return tmp_path / "store"


@pytest.mark.parametrize("name", Name)
def test_nothing_that_is_sent_crashes_a_service_or_stays_in_it(name: str, store: Path, tmp_path: Path) -> None:
    messages = int(MESSAGES * SHARES.get(name, (1 - sum(SHARES.values())) / (len(Name) - len(SHARES))))
    arguments = ("--benchmarks", str(tmp_path / "benchmarks"))
    log = tmp_path / "log"
    with ServiceProcess(name, store, log, *arguments, REPOLOOM_CRAWL_ALLOW="local-files", **OFFLINE) as server:
        ask(name, server.address, tmp_path)
        fuzz = Fuzz(server, name, words(name, store, tmp_path))
        fuzz.run(0, messages // 3)  # what is loaded and learnt once
        before = server.usage
        fuzz.run(CLIENTS, messages - messages // 3)
        end_jobs(name, server.address)
        after = server.settled(lambda usage: usage.files <= before.files + CONNECTIONS)
        is_serving(server.address)
        ask(name, server.address, tmp_path)
        figures = {"service": name, "messages": fuzz.messages, "ends": dict(sorted(fuzz.ends.items()))}
        figures |= {"before": before._asdict(), "after": after._asdict(), "unforeseen": fuzz.unforeseen}
    if REPORT:
        with Path(REPORT).open("a") as report:
            report.write(json.dumps({**figures, "log": [*errors(server)]}) + "\n")
    assert not fuzz.unforeseen
    assert not server.outcries()
    assert not [*errors(server)]
    assert fuzz.messages >= messages
    assert after.files <= before.files + CONNECTIONS
    assert after.threads <= before.threads + 16  # the pool of threads grows to its size, and no further
    assert after.memory < before.memory + (192 << 20)


def words(name: str, store: Path, folder: Path) -> dict[str, Any]:
    """What a right request to the service may hold."""
    stage = client.CLIENTS[name].stage
    made = str(store / "made")
    uris = (str(store), made, f"{store}/..", f"{store}/.jobs", "/etc", f"file://{store}/x", "s3://other/x")
    sources: list[dict[str, Any]] = [
        {"kind": "folder", "path": str(folder / "project")},
        {"kind": "folder", "path": str(folder / "project"), "each": True},
        {"kind": "jsonl", "path": str(folder / "project/rows.jsonl")},
        {"kind": "parquet", "path": str(folder / "project/rows.jsonl")},
        {"kind": "archive", "path": str(folder / "project/rows.jsonl")},
        {"kind": "folder", "path": "\0"},
        {"kind": "folder", "path": str(folder / "none")},
        {"kind": "folder", "path": "x" * 5000},
        {"kind": "folder"},
        {"kind": None},
        {},
    ]
    return {
        "parameters": [*section(stage).model_fields, "max_files", "nothing"],
        "source": sources,
        "stage": (stage, stage, "nothing"),
        "inputs": uris,
        "output": uris,
        "dataset": uris,
        "name": (f"operations/{name}", f"operations/{name}/{'0' * 32}", "operations", f"operations/other/{'1' * 32}"),
        "service": ("", name),
    }


def ask(name: str, address: str, folder: Path) -> None:
    """A right request, which is answered rightly."""
    file = File(repo="a", path="a.py", language="Python", content=PYTHON)
    span = {"path": "a.py", "language": "Python", "end": len(PYTHON)}
    document = Document(repo="a", text=PYTHON, spans=[span])
    match name:
        case "crawler":
            with client.Crawler(address) as crawler:
                source = {"kind": "jsonl", "path": str(folder / "benchmarks/exam.jsonl")}
                assert (
                    len(list(crawler.crawl({**source, "columns": {"repo": None, "path": None, "content": "prompt"}})))
                    == 2
                )
        case "filter":
            with client.Filter(address) as chosen:
                assert [row.path for row in chosen.files([file]) if isinstance(row, File)] == ["a.py"]
        case "dependency_sorter":
            with client.DependencySorter(address) as sorter:
                assert next(row for row in sorter.sort([file]) if isinstance(row, Document)).text.endswith(PYTHON)
        case "deduper":
            with client.Deduper(address) as deduper:
                assert [row.repo for row in deduper.sign([document])] == ["a"]
        case "quality_scorer":
            with client.QualityScorer(address) as scorer:
                assert [row.syntax for row in scorer.score([file])] == ["valid"]
        case "decontaminator":
            with client.Decontaminator(address) as decontaminator:
                text = BenchmarkText(benchmark="b", item="0", field="f", text=PYTHON)
                assert decontaminator.find([file], texts=[text])
        case "tokenizer":
            with client.Tokenizer(address) as tokenizer:
                ids = list(tokenizer.encode([PYTHON.decode()], TOKENIZER))
                assert list(tokenizer.decode(ids, TOKENIZER)) == [PYTHON.decode()]


def end_jobs(name: str, address: str) -> None:
    """Cancels the jobs that some request started, and waits for their end."""
    with client.CLIENTS[name](address) as called:
        for operation in called.operations():
            operation.cancel()
            with contextlib.suppress(RepoloomError):  # that it was cancelled, or what it failed of
                operation.wait()


def is_serving(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert response.status == health_pb2.HealthCheckResponse.SERVING


def errors(server: ServiceProcess) -> Iterator[str]:
    """What the server's log has of errors that nobody foresaw.

    One is foreseen: grpc.aio logs that it could not send a status to a client that had left.
    """
    for line in server.lines():
        if line["level"] in ("error", "critical") and not line["message"].startswith(
            "ExecuteBatchError raised in core"
        ):
            yield json.dumps(line)[:4000]
