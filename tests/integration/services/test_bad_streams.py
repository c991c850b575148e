"""Streams that are empty, malformed, too large, without end, in the wrong order or left by their client.

Each ends with the status that it deserves, and leaves a real server as it found it: with its threads free for others,
which are few here so that one that is lost is missed, its files closed, and little more in memory.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from rpc.process import ServiceProcess

from repoloom.protos.corpus.v1.corpus_pb2 import Document, File
from repoloom.protos.crawler.v1.crawler_pb2 import CrawlRequest
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import FindHitsRequest
from repoloom.protos.deduper.v1.deduper_pb2 import DeduplicateRequest, SignRequest
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import SortFilesRequest
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import ScoreFilesRequest
from repoloom.protos.tokenizer.v1.tokenizer_pb2 import DecodeRequest, EncodeDocumentsRequest, EncodeRequest, Ids
from repoloom.stages.tokenize.vocabulary import train

CALLS = 4  # that a server runs at once
SECONDS = 60
ROOM = 256 << 20  # what a server may take while it is treated badly: messages under way, repositories at their limit

PYTHON = b"import os\n\n\ndef answer() -> int:\n    return len(os.sep) + 41\n"
TEXT = PYTHON * 200  # 12 KB
TOKENIZER = train(iter([PYTHON.decode()] * 20), 400).to_str().encode()

Code = grpc.StatusCode


def file(repo: str, number: int, content: bytes) -> File:
    return File(repo=repo, path=f"{number}.py", language="Python", content=content)


def document(repo: str, number: int, content: bytes) -> Document:
    span = {"path": f"{number}.py", "language": "Python", "end": len(content)}
    return Document(repo=repo, document=number, text=content, spans=[span])


@dataclass(frozen=True)
class Rpc:
    """A method that takes a stream, and right requests for it."""

    service: str
    path: str
    request: type[Message]
    rows: str  # the field
    row: Callable[[str, int, bytes], Any]
    settings: dict[str, Any] = field(default_factory=dict)  # that the first message needs
    setting: dict[str, Any] = field(default_factory=lambda: {"parameters": {}})  # that a later one must not have

    def __str__(self) -> str:
        return self.path.rpartition("/")[2]

    def first(self, content: bytes = PYTHON) -> bytes:
        return self.message("first", 0, content, **self.settings)

    def message(self, repo: str, number: int = 0, content: bytes = TEXT, **settings: Any) -> bytes:
        return self.request(**{self.rows: [self.row(repo, number, content)]}, **settings).SerializeToString()


def _ref() -> dict[str, Any]:
    return {"tokenizer": {"json": TOKENIZER}}


RPCS = (
    Rpc("filter", "/repoloom.filter.v1.FilterService/FilterFiles", FilterFilesRequest, "files", file),
    Rpc("dependency_sorter", "/repoloom.dependency_sorter.v1.DependencySorterService/SortFiles", SortFilesRequest,
        "files", file),
    Rpc("deduper", "/repoloom.deduper.v1.DeduperService/Sign", SignRequest, "documents", document),
    Rpc("deduper", "/repoloom.deduper.v1.DeduperService/Deduplicate", DeduplicateRequest, "documents", document),
    Rpc("quality_scorer", "/repoloom.quality_scorer.v1.QualityScorerService/ScoreFiles", ScoreFilesRequest,
        "files", file),
    Rpc("decontaminator", "/repoloom.decontaminator.v1.DecontaminatorService/FindHits", FindHitsRequest, "files", file,
        {"texts": [{"benchmark": "b", "item": "0", "field": "f", "text": PYTHON * 2}]}, {"benchmarks": ["b"]}),
    Rpc("tokenizer", "/repoloom.tokenizer.v1.TokenizerService/Encode", EncodeRequest, "texts",
        lambda _, __, content: content, _ref(), _ref()),
    Rpc("tokenizer", "/repoloom.tokenizer.v1.TokenizerService/Decode", DecodeRequest, "ids",
        lambda _, __, content: Ids(ids=content), _ref(), _ref()),
    Rpc("tokenizer", "/repoloom.tokenizer.v1.TokenizerService/EncodeDocuments", EncodeDocumentsRequest, "documents",
        document, _ref(), _ref()),
)  # fmt: skip
BY_REPOSITORY = [rpc for rpc in RPCS if str(rpc) not in ("Encode", "Decode")]

AT_ONCE = ("FilterFiles", "SortFiles", "ScoreFiles", "Encode", "Decode")  # they answer while the stream goes on
AT_LENGTH = ("FilterFiles", "SortFiles", "Encode", "Decode")  # they answer about what they are sent

every = pytest.mark.parametrize("rpc", RPCS, ids=str)


class Servers:
    """One real server for each service that is asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: dict[str, ServiceProcess] = {}

    def of(self, service: str) -> ServiceProcess:
        if service not in self._running:
            store = self._folder / service
            store.mkdir()
            server = ServiceProcess(
                service,
                store,
                self._folder / f"{service}.log",
                REPOLOOM_SERVER_MAX_CALLS=str(CALLS),
                REPOLOOM_CRAWL_ALLOW="local-files",
            )
            self._running[service] = self._stack.enter_context(server)
        return self._running[service]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


class Called:
    """A call: what came back, and how it ended."""

    def __init__(
        self, address: str, path: str, requests: Iterable[bytes], seconds: float = SECONDS, **rest: Any
    ) -> None:
        self.answers = self.size = 0
        with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
            call = channel.stream_stream(path)(iter(requests), timeout=seconds, **rest)
            try:
                for answer in call:
                    self.answers += 1
                    self.size += len(answer)
            except grpc.RpcError:
                pass
            self.code: grpc.StatusCode = call.code()
            self.details: str = call.details()


def ended(servers: Servers, rpc: Rpc, *requests: bytes) -> Called:
    return Called(servers.of(rpc.service).address, rpc.path, requests)


@every
def test_an_empty_stream_has_an_empty_answer(servers: Servers, rpc: Rpc) -> None:
    called = ended(servers, rpc)
    assert (called.code, called.answers) == (Code.OK, 0)


@every
def test_an_empty_message_is_right_unless_something_must_be_named(servers: Servers, rpc: Rpc) -> None:
    called = ended(servers, rpc, b"")
    assert called.code is (Code.INVALID_ARGUMENT if rpc.settings else Code.OK)
    if rpc.settings:
        assert "the first message names n" in called.details
    assert ended(servers, rpc, rpc.first(), b"", b"").code is Code.OK


@every
def test_a_message_that_is_too_large_is_refused_with_the_limit(servers: Servers, rpc: Rpc) -> None:
    called = ended(servers, rpc, rpc.first(), rpc.message("a", content=b"x" * (16 << 20)))
    assert called.code is Code.RESOURCE_EXHAUSTED
    assert "larger than max" in called.details


@every
def test_a_message_of_too_many_rows_is_refused_before_they_are_read(servers: Servers, rpc: Rpc) -> None:
    server = servers.of(rpc.service)
    tag = bytes([rpc.request.DESCRIPTOR.fields_by_name[rpc.rows].number << 3 | 2, 0])
    with Watched(server) as watched:
        called = ended(servers, rpc, rpc.first(), tag * (8_000_000))
    assert called.code is Code.RESOURCE_EXHAUSTED
    assert "rows" in called.details
    assert watched.growth < ROOM


@every
@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x12\x05ab", b"\x0f", b"\x12\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_message_are_refused(servers: Servers, rpc: Rpc, content: bytes) -> None:
    assert ended(servers, rpc, content).code is Code.INVALID_ARGUMENT
    assert ended(servers, rpc, rpc.first(), content, rpc.message("a")).code is Code.INVALID_ARGUMENT


@every
def test_settings_are_for_the_first_message_only(servers: Servers, rpc: Rpc) -> None:
    (name,) = rpc.setting
    called = ended(servers, rpc, rpc.first(), rpc.message("a", **rpc.setting))
    assert called.code is Code.INVALID_ARGUMENT
    assert f"{name}: is for the first message" in called.details


@pytest.mark.parametrize("rpc", BY_REPOSITORY, ids=str)
def test_a_repository_that_comes_apart_is_refused(servers: Servers, rpc: Rpc) -> None:
    requests = [rpc.first(), rpc.message("a", 0), rpc.message("b", 0), rpc.message("a", 1)]
    called = ended(servers, rpc, *requests)
    assert called.code is Code.INVALID_ARGUMENT
    assert "a came apart" in called.details


@pytest.mark.parametrize("rpc", [rpc for rpc in RPCS if str(rpc) in ("FilterFiles", "SortFiles", "Sign")], ids=str)
def test_a_repository_without_end_ends_at_the_limit_of_one(servers: Servers, rpc: Rpc) -> None:
    text = b"x = 1\n" * 160_000
    endless = (rpc.message("a", number, text) for number in itertools.count())
    server = servers.of(rpc.service)
    called = Called(server.address, rpc.path, itertools.chain([rpc.first()], endless), seconds=200)
    assert called.code is Code.RESOURCE_EXHAUSTED
    assert "the most that a stream may hold of one repository" in called.details


class Watched:
    """How far a server's memory grows while the block runs."""

    def __init__(self, server: ServiceProcess) -> None:
        self._server = server
        self._over = False
        self.growth = 0

    def __enter__(self) -> "Watched":
        self._pool = ThreadPoolExecutor(1)
        self._before = self._server.usage.memory
        self._pool.submit(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._pool.shutdown()

    def _watch(self) -> None:
        while not self._over:
            self.growth = max(self.growth, self._server.usage.memory - self._before)
            time.sleep(0.02)


@every
def test_a_stream_without_end_takes_bounded_memory_until_its_deadline(servers: Servers, rpc: Rpc) -> None:
    server = servers.of(rpc.service)
    assert ended(servers, rpc, rpc.first(TEXT), rpc.message("a")).code is Code.OK  # what is loaded once is loaded
    content = TEXT * 4
    endless = (rpc.message(f"repo/{number}", content=content) for number in itertools.count())
    with Watched(server) as watched:
        called = Called(server.address, rpc.path, itertools.chain([rpc.first()], endless), seconds=4)
    assert called.code is Code.DEADLINE_EXCEEDED
    assert watched.growth < ROOM


@every
def test_a_client_that_reads_nothing_for_long_makes_the_server_wait_and_not_grow(servers: Servers, rpc: Rpc) -> None:
    server = servers.of(rpc.service)
    at_length = str(rpc) in AT_LENGTH
    # For those that answer at length more than a server may take, however much of it is on the way.
    content, messages = (TEXT * 8, 4000) if at_length else (TEXT, 250)
    sent, before, waited = 0, -1, False

    def requests() -> Iterator[bytes]:
        nonlocal sent
        yield rpc.first()
        while sent < messages and not waited:
            sent += 1
            yield rpc.message(f"repo/{sent}", content=content)

    little = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16)]  # that the client's side takes in
    with Watched(server) as watched, grpc.insecure_channel(server.address, little) as channel:
        call = channel.stream_stream(rpc.path)(requests(), timeout=120)
        while before < sent < messages:  # until the server takes no more
            before = sent
            time.sleep(0.5)
        waited = sent < messages
        for _ in call:
            pass
    assert call.code() is Code.OK
    assert waited or not at_length
    assert watched.growth < ROOM


@every
def test_a_client_that_leaves_takes_nothing_with_it_whenever_it_leaves(servers: Servers, rpc: Rpc) -> None:
    server = servers.of(rpc.service)
    right = [rpc.first(), *(rpc.message(f"repo/{number}") for number in range(8))]
    assert all(code is Code.OK for code in together(server, rpc, right))  # all threads are there
    before = server.usage

    def forever(first: Iterable[bytes]) -> Iterator[bytes]:
        yield from first
        gone.wait(SECONDS)

    with Watched(server) as watched:
        for sent, answers in itertools.product((0, 1, 3, 9), (0, 1)):
            for _ in range(CALLS):
                with grpc.insecure_channel(server.address) as channel:
                    gone = threading.Event()
                    call = channel.stream_stream(rpc.path)(forever(right[:sent]), timeout=SECONDS)
                    if answers and sent == len(right):
                        next(call) if str(rpc) in AT_ONCE else time.sleep(0.05)
                    else:
                        time.sleep(0.03 * answers)
                    call.cancel()
                    gone.set()
    after = server.settled(lambda usage: usage.files <= before.files)

    codes = [code for _ in range(3) for code in together(server, rpc, right)]
    assert codes == [Code.OK] * len(codes)
    assert after.files <= before.files
    assert after.threads <= before.threads + 2
    assert watched.growth < ROOM


def test_a_client_that_leaves_a_crawl_takes_nothing_with_it(servers: Servers, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.py").write_bytes(TEXT)
    request = CrawlRequest()
    request.source.update({"kind": "folder", "path": str(tmp_path)})
    server = servers.of("crawler")
    path = "/repoloom.crawler.v1.CrawlerService/Crawl"
    whole = Called(server.address, path, [request.SerializeToString()])
    assert whole.code is Code.OK
    before = server.usage
    for number in range(3 * CALLS):
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_stream(path)(request.SerializeToString(), timeout=SECONDS)
            if number % 2:
                next(call)
            call.cancel()
    after = server.settled(lambda usage: usage.files <= before.files)
    until = time.monotonic() + SECONDS  # a crawl that nobody waits for ends where it next has something to say
    while (again := Called(server.address, path, [request.SerializeToString()])).code is Code.RESOURCE_EXHAUSTED:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert (again.code, again.size) == (Code.OK, whole.size)
    assert after.files <= before.files


@pytest.mark.parametrize(
    ("source", "code"),
    [({}, Code.INVALID_ARGUMENT), ({"kind": "folder", "path": "x" * 10_000}, Code.INVALID_ARGUMENT)],
)
def test_a_crawl_of_nothing_is_refused(servers: Servers, source: dict[str, str], code: Code) -> None:
    request = CrawlRequest()
    request.source.update(source)
    server = servers.of("crawler")
    path = "/repoloom.crawler.v1.CrawlerService/Crawl"
    assert Called(server.address, path, [request.SerializeToString()]).code is code
    assert Called(server.address, path, []).code is Code.INVALID_ARGUMENT
    assert Called(server.address, path, [b"\xff"]).code is Code.INVALID_ARGUMENT


def test_online_no_crawl_may_hold_more_than_the_usual(servers: Servers) -> None:
    request = CrawlRequest()
    request.source.update({"kind": "folder", "path": "."})
    request.parameters.update({"max_repository_bytes": 2**50})
    called = Called(
        servers.of("crawler").address, "/repoloom.crawler.v1.CrawlerService/Crawl", [request.SerializeToString()]
    )
    assert called.code is Code.INVALID_ARGUMENT
    assert "max_repository_bytes: online it is at most" in called.details


@every
def test_a_compressed_bomb_is_not_inflated(servers: Servers, rpc: Rpc) -> None:
    server = servers.of(rpc.service)
    bomb = rpc.message("a", content=bytes(400 << 20)) if str(rpc) != "Decode" else bytes(400 << 20)
    with Watched(server) as watched:
        called = Called(server.address, rpc.path, [bomb], compression=grpc.Compression.Gzip)
    assert called.code in (Code.UNIMPLEMENTED, Code.INTERNAL)  # gRPC's own words, before the call reaches the service
    assert watched.growth < ROOM


def together(server: ServiceProcess, rpc: Rpc, requests: list[bytes]) -> list[grpc.StatusCode]:
    """How as many calls end at once as the server runs."""
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CALLS) as callers:
        while True:
            made = [callers.submit(Called, server.address, rpc.path, requests) for _ in range(CALLS)]
            codes = [one.result().code for one in made]
            if Code.RESOURCE_EXHAUSTED not in codes or time.monotonic() > until:
                return codes
            time.sleep(0.1)  # those that were left are not known to be yet
