"""`make bench-services`: the online services under load, over loopback with tokens on, against the batch on one corpus.

Every face runs in a process of its own. Steady load of 1, 4, 16 and 64 calls at once, bursts beyond what the server
takes, as many requests as an hour brings at one a second, and SIGTERM in the middle. MB/s a core are of the processor
time of the server (or the worker) and its children; one stream with all rows and the batch's steps on the same rows
take turns, so that what else the machine does slows both. Prints tables; --json prints the figures.
"""

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpus
import grpc
import psutil
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rpc.process import ServiceProcess

from repoloom.client.service import struct
from repoloom.client.streaming import chunks
from repoloom.corpus.dataset import Dataset
from repoloom.engine.plan import Table as Input
from repoloom.engine.pool import Limits, LocalPool
from repoloom.engine.reconcile import Policy, reconcile
from repoloom.engine.step import Params, Step
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File
from repoloom.protos.crawler.v1.crawler_pb2 import CrawlRequest
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import FindHitsRequest
from repoloom.protos.deduper.v1.deduper_pb2 import DeduplicateRequest, SignRequest
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import SortFilesRequest
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import ScoreFilesRequest
from repoloom.protos.tokenizer.v1.tokenizer_pb2 import EncodeDocumentsRequest, EncodeRequest
from repoloom.recipe.sections import configure, section, settle, steps
from repoloom.rpc.callers import new_caller
from repoloom.rpc.tables import messages
from repoloom.stages.dedup.survivors import Survivors
from repoloom.up.find import full_name

MB = 1_000_000
CONCURRENCY = (1, 4, 16, 64)
MAX_CALLS = 64  # that a server runs at once: its default
BURST = 256
CHANNELS = 4  # of one connection a server takes 128 calls at once
SMALL = 8 << 10  # bytes of a request of those that stand for an hour's
DRAINED = 16  # calls at once while the server is told to stop
SECONDS = 300
BENCHMARK = "exam"
STAGES = ("crawl", "filter", "order", "dedup", "quality", "decontaminate", "split", "tokenize")
TURN_SECONDS = 1.5  # of processor time that is measured at least, of which a process knows hundredths
TURNS = 2  # at least
BEGAN = time.monotonic()


@dataclass
class Face:
    """An online method, what it is sent, and what the same step of the batch did with the same rows."""

    service: str
    method: str
    path: str
    stream: list[bytes]  # one call with all rows
    requests: list[bytes]  # calls of one message, about 256 KB
    small: list[bytes]  # calls of one message, at most 8 KB
    files: int
    size: int  # bytes of the rows
    steps: Sequence[str]  # of the batch
    figures: dict[str, Any] = field(default_factory=dict)


class Batch:
    """The data path up to the tokens on one worker, and any of its steps again."""

    def __init__(self, folder: Path, out: Path, benchmark: Path) -> None:
        self.pool = LocalPool(1, Limits())
        self.tables: dict[str, dict[str, Input]] = {}  # that each step reads
        self._steps: dict[str, Step[Params]] = {}
        self._out = out
        self._turns = itertools.count()
        given: dict[str, dict[str, Any]] = {
            "crawl": {"sources": [{"kind": "folder", "path": str(folder), "each": True}]},
            "decontaminate": {"benchmarks": [{"name": BENCHMARK, "path": str(benchmark)}]},
            "split": {"fraction": 0.02},
            "tokenize": {"vocab_size": 32_000, "sample_bytes": 8 * MB},
        }
        tables = dict[str, Input]()
        for stage in STAGES:
            model = section(stage).model_validate(given.get(stage, {}))
            values = settle(stage, {name: getattr(model, name) for name in type(model).model_fields})
            for step_class in steps(stage):
                step = self._steps[step_class.name] = configure(step_class, values)
                self.tables[step.name] = dict(tables)
                dataset = self._do(step, "first")
                tables |= {name: Input(dataset, name) for name in step.writes}
        self.tables["end"] = tables

    def again(self, names: Iterable[str]) -> float:
        """Processor seconds that some steps take now."""
        before, turn = _processor_seconds(), f"{next(self._turns)}"
        for name in names:
            self._do(self._steps[name], turn)
        return _processor_seconds() - before

    def _do(self, step: Step[Params], turn: str) -> Dataset:
        root = f"{self._out}/{turn}/{step.name}"
        return reconcile(step, self.tables[step.name], root, self.pool, Policy(task_bytes=64 << 20))


def _processor_seconds() -> float:
    """Of the worker and whatever it started."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        total += sum(child.cpu_times()[:2])
    return total


def tell(text: str) -> None:
    """What happens now, for whoever waits."""
    Console(stderr=True).print(f"{time.monotonic() - BEGAN:4.0f} s  {text}", highlight=False)


def faces(batch: Batch, folder: Path) -> Iterator[Face]:
    """What each method is sent: the rows that the batch's step read."""
    crawled = rows(batch, "filter", "files", File)
    kept = rows(batch, "order", "files", File)
    documents = rows(batch, "dedup.signatures", "documents", Document)
    parsed = files_of(rows(batch, "quality", "documents", Document))
    searched = files_of(rows(batch, "decontaminate", "documents", Document))
    encoded = rows(batch, "tokenize", "documents", Document)
    named = {"tokenizer": {"dataset": batch.tables["end"]["tokenizer"].dataset.uri}}

    yield _crawl(folder, crawled)
    yield _face("filter", "FilterFiles", FilterFilesRequest, "files", crawled, ["filter"])
    yield _face("dependency_sorter", "SortFiles", SortFilesRequest, "files", kept, ["order"])
    yield _face("deduper", "Sign", SignRequest, "documents", documents, ["dedup.signatures"])
    found = [step.name for step in steps("dedup") if step is not Survivors]  # online no documents come back
    yield _face("deduper", "Deduplicate", DeduplicateRequest, "documents", documents, found)
    yield _face("quality_scorer", "ScoreFiles", ScoreFilesRequest, "files", parsed, ["quality"])
    looked = {"benchmarks": [BENCHMARK]}
    yield _face("decontaminator", "FindHits", FindHitsRequest, "files", searched, ["decontaminate"], looked)
    texts = [document.text for document in encoded]
    yield _face("tokenizer", "Encode", EncodeRequest, "texts", texts, ["tokenize"], named)
    yield _face("tokenizer", "EncodeDocuments", EncodeDocumentsRequest, "documents", encoded, ["tokenize"], named)


def rows(batch: Batch, step: str, table: str, kind: type[Any]) -> list[Any]:
    """The rows that a step of the batch read, as messages."""
    dataset = batch.tables[step][table].dataset
    return [message for some in dataset.batches(table) for message in messages(some, kind)]


def files_of(documents: Iterable[Document]) -> list[File]:
    """The files of documents."""
    return [
        File(
            repo=document.repo,
            path=span.path,
            language=span.language,
            blob=span.blob,
            sha256=span.sha256,
            size=span.size,
            content=document.text[span.start : span.end],
        )
        for document in documents
        for span in document.spans
    ]


def _face(
    service: str,
    method: str,
    kind: type[Message],
    name: str,
    given: Sequence[Any],
    steps: Sequence[str],
    settings: dict[str, Any] | None = None,
) -> Face:
    size = len if name == "texts" else (lambda message: message.ByteSize())
    settings = settings or {}
    stream = [
        kind(**{name: some}, **(settings if not number else {})) for number, some in enumerate(chunks(given, size))
    ]
    return Face(
        service,
        method,
        f"/{full_name(service)}/{method}",
        [message.SerializeToString() for message in stream],
        [kind(**{name: some}, **settings).SerializeToString() for some in chunks(given, size) if some],
        [kind(**{name: some}, **settings).SerializeToString() for some in _small(given, size)],
        sum(len(row.spans) if isinstance(row, Document) else 1 for row in given),
        sum(len(row.content) if isinstance(row, File) else len(getattr(row, "text", row)) for row in given),
        steps,
    )


def _small(given: Iterable[Any], size: Any) -> Iterator[list[Any]]:
    held: list[Any] = []
    for row in given:
        if held and sum(map(size, held)) + size(row) > SMALL:
            yield held
            held = []
        if size(row) <= SMALL:
            held.append(row)
    if held:
        yield held


def _crawl(folder: Path, crawled: Sequence[File]) -> Face:
    each = [{"kind": "folder", "path": str(path)} for path in sorted(folder.iterdir())]
    sizes = {
        path: sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
        for path in map(str, folder.iterdir())
    }
    small = [source for source in each if sizes[source["path"]] <= 8 * SMALL] or each
    whole = CrawlRequest(source=struct({"kind": "folder", "path": str(folder), "each": True})).SerializeToString()
    calls = [CrawlRequest(source=struct(source)).SerializeToString() for source in each]
    little = [CrawlRequest(source=struct(source)).SerializeToString() for source in small]
    size = sum(len(file.content) for file in crawled)
    path = "/repoloom.crawler.v1.CrawlerService/Crawl"
    return Face("crawler", "Crawl", path, [whole], calls, little, len(crawled), size, ["crawl"])


@dataclass
class Ends:
    """How calls ended."""

    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those that ended well

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


class Load:
    """Calls of one face on several channels."""

    def __init__(self, face: Face, address: str, token: str) -> None:
        self._face = face
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def __aenter__(self) -> "Load":
        self._stack = AsyncExitStack()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        channels = [grpc.aio.insecure_channel(self._address, options) for _ in range(CHANNELS)]
        for channel in channels:
            await self._stack.enter_async_context(channel)
            await channel.channel_ready()
        self._methods = itertools.cycle([channel.stream_stream(self._face.path) for channel in channels])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, requests: Sequence[bytes], ends: Ends) -> bool:
        """One call; whether it ended well."""
        began = time.perf_counter()
        call = next(self._methods)(_each(requests), timeout=SECONDS, metadata=self._metadata)
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            ends.codes[error.code().name] += 1
            return False
        ends.codes["OK"] += 1
        ends.seconds.append(time.perf_counter() - began)
        return True

    async def steady(self, concurrency: int, requests: Iterator[bytes], until: float) -> Ends:
        """So many clients, each with one call after another, until a time or the last request."""
        ends = Ends()

        async def client() -> None:
            while time.monotonic() < until and (request := next(requests, None)) is not None:
                await self.call([request], ends)

        await asyncio.gather(*(client() for _ in range(concurrency)))
        return ends


async def _each(requests: Sequence[bytes]) -> AsyncIterator[bytes]:
    for request in requests:
        yield request


async def measure(face: Face, server: ServiceProcess, token: str, batch: Batch, seconds: float, hour: int) -> None:
    """All figures of one face."""
    per_request = {"MB": face.size / MB / len(face.requests), "files": face.files / len(face.requests)}
    async with Load(face, server.address, token) as load:
        face.figures |= await _against_batch(face, load, server, batch)
        tell(f"{face.method}: {face.figures['ratio']:.2f} of the batch")
        face.figures["steady"] = []
        for concurrency in CONCURRENCY:
            began, used = time.monotonic(), server.processor_seconds
            ends = await load.steady(concurrency, itertools.cycle(face.requests), began + seconds)
            took, used = time.monotonic() - began, server.processor_seconds - used
            done = ends.codes["OK"]
            face.figures["steady"].append(
                {
                    "concurrency": concurrency,
                    "calls_per_second": done / took,
                    "files_per_second": done * per_request["files"] / took,
                    "mb_per_second": done * per_request["MB"] / took,
                    "mb_per_core_second": done * per_request["MB"] / used,
                    "p50_ms": ends.percentile(0.5),
                    "p99_ms": ends.percentile(0.99),
                    "codes": dict(ends.codes),
                }
            )
            tell(f"{face.method}: {concurrency} at once, {done / took:,.1f} calls/s")
        before = _ended(server, face)
        face.figures["burst"] = await _burst(face, load)
        # The server's word: grpc.aio's client calls it INTERNAL where a call was refused while it still sent.
        face.figures["burst"]["codes"] = dict(_ended(server, face) - before)
        tell(f"{face.method}: a burst of {BURST}, {face.figures['burst']['codes']}")
        face.figures["hour"] = await _hour(face, load, server, hour)
        tell(f"{face.method}: {sum(face.figures['hour']['codes'].values()):,} requests while memory was watched")


async def _against_batch(face: Face, load: Load, server: ServiceProcess, batch: Batch) -> dict[str, Any]:
    """All rows in one call, and the same rows by the batch, in turns."""
    await load.call(face.stream, Ends())  # what is loaded once
    batch.again(face.steps)
    online = offline = wall = 0.0
    ends = Ends()
    while sum(ends.codes.values()) < TURNS or min(online, offline) < TURN_SECONDS:
        began, used = time.monotonic(), server.processor_seconds
        await load.call(face.stream, ends)
        wall += time.monotonic() - began
        online += server.processor_seconds - used
        offline += batch.again(face.steps)
    size = face.size / MB * sum(ends.codes.values())
    stream = {"mb_per_second": size / wall, "mb_per_core_second": size / online, "codes": dict(ends.codes)}
    return {"stream": stream, "batch_mb_per_core_second": size / offline, "ratio": offline / online}


async def _burst(face: Face, load: Load) -> dict[str, Any]:
    """More calls at one moment than the server runs."""
    ends = Ends()
    requests = itertools.cycle(face.requests)
    await asyncio.gather(*(load.call([next(requests)], ends) for _ in range(BURST)))
    return {"calls": BURST, "p50_ms": ends.percentile(0.5), "p99_ms": ends.percentile(0.99)}


async def _hour(face: Face, load: Load, server: ServiceProcess, hour: int) -> dict[str, Any]:
    """Resident bytes of the server after each tenth of the requests."""
    memory, codes = [], Counter[str]()
    requests = itertools.cycle(face.small)
    began = time.monotonic()
    for _ in range(10):
        ends = await load.steady(8, itertools.islice(requests, hour // 10), began + SECONDS)
        codes += ends.codes
        memory.append(server.usage.memory)
    return {"requests": hour, "seconds": time.monotonic() - began, "memory": memory, "codes": dict(codes)}


async def drain(face: Face, server: ServiceProcess, token: str) -> dict[str, Any]:
    """SIGTERM under load: how the calls end, and how many the server says that it did."""
    async with Load(face, server.address, token) as load:
        ends = Ends()
        requests = itertools.cycle(face.requests)
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set() and not ends.codes["UNAVAILABLE"]:
                await load.call([next(requests)], ends)

        clients = asyncio.gather(*(client() for _ in range(DRAINED)))
        await asyncio.sleep(1)
        server.terminate()
        await clients
    return {"codes": dict(ends.codes), "exit": await asyncio.to_thread(server.wait)}


def run_online(face: Face, work: Path, benchmarks: Path, batch: Batch, seconds: float, hour: int) -> None:
    """Starts a face's service, measures it, and stops it under load."""
    token, entry = new_caller("bench", [f"{face.service}:online"])
    callers = work / f"{face.method}.callers.yaml"
    callers.write_text(entry)
    log = work / f"{face.method}.log"
    with ServiceProcess(
        face.service,
        work,
        log,
        "--benchmarks",
        str(benchmarks),
        REPOLOOM_SERVER_CALLERS_FILE=str(callers),
        REPOLOOM_SERVER_MAX_CALLS=str(MAX_CALLS),
        REPOLOOM_CRAWL_ALLOW="local-files",
    ) as server:
        asyncio.run(measure(face, server, token, batch, seconds, hour))
        said = _ended(server, face)
        face.figures["drain"] = asyncio.run(drain(face, server, token))
        face.figures["drain"]["ended"] = dict(_ended(server, face) - said)


def _ended(server: ServiceProcess, face: Face) -> Counter[str]:
    """The ends of a face's calls, as the server's log has them."""
    time.sleep(0.5)  # the last lines may be on their way
    return Counter(
        str(line["code"])
        for line in server.lines()
        if line["logger"] == "repoloom.rpc.access" and line.get("method") == face.method
    )


def show(found: Sequence[Face]) -> None:
    """Prints the tables."""
    console = Console(width=150)
    table = Table("face", title="Calls of about 256 KB over loopback, with tokens", title_justify="left")
    for column in ("at once", "files/s", "MB/s", "MB/s a core", "p50 ms", "p99 ms", "not OK"):
        table.add_column(column, justify="right")
    for face in found:
        for row in face.figures["steady"]:
            wrong = {code: number for code, number in row["codes"].items() if code != "OK"}
            cells = [f"{row[name]:,.1f}" for name in ("mb_per_second", "mb_per_core_second", "p50_ms", "p99_ms")]
            table.add_row(
                face.method, str(row["concurrency"]), f"{row['files_per_second']:,.0f}", *cells, str(wrong or "")
            )
    console.print(table)
    table = Table(
        "face", title="One stream against the batch; overload; an hour's requests; SIGTERM", title_justify="left"
    )
    for column in (
        "MB/s a core",
        "batch",
        "ratio",
        f"burst of {BURST}",
        "requests: MiB, first … last",
        "SIGTERM",
    ):
        table.add_column(column, justify="right")
    for face in found:
        figures = face.figures
        memory = [round(size / 2**20) for size in figures["hour"]["memory"]]
        requests = sum(figures["hour"]["codes"].values())
        table.add_row(
            face.method,
            f"{figures['stream']['mb_per_core_second']:.1f}",
            f"{figures['batch_mb_per_core_second']:.1f}",
            f"{figures['ratio']:.2f}",
            f"{figures['burst']['codes']}",
            f"{requests:,}: {memory[0]} … {memory[-1]}",
            f"{figures['drain']['codes']}, by its log {figures['drain']['ended']}",
        )
    console.print(table)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=12, help="MB of the corpus")
    parser.add_argument("--seconds", type=float, default=2, help="of each level of steady load")
    parser.add_argument(
        "--hour", type=int, default=3600, help="requests while memory is watched: an hour of one a second"
    )
    parser.add_argument("--only", nargs="*", help="methods, by default all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="repoloom-bench-") as temporary:
        work = Path(temporary)
        size = corpus.build(work / "corpus", arguments.size * MB)
        (work / "benchmarks").mkdir()
        benchmark = work / "benchmarks" / f"{BENCHMARK}.jsonl"
        texts = [" ".join(f"word{number * 31 + at}" for at in range(30)) for number in range(164)]
        benchmark.write_text(
            "".join(json.dumps({"task_id": str(i), "prompt": text}) + "\n" for i, text in enumerate(texts))
        )
        batch = Batch(work / "corpus", work / "out", benchmark)
        with batch.pool:
            found = [face for face in faces(batch, work / "corpus") if face.method in (arguments.only or [face.method])]
            tell(f"the batch has run; measuring {', '.join(face.method for face in found)}")
            for face in found:
                run_online(face, work, work / "benchmarks", batch, arguments.seconds, arguments.hour)
                tell(f"{face.method}: SIGTERM, {face.figures['drain']['codes']}")
    figures = {face.method: {"mb": face.size / MB, "files": face.files, **face.figures} for face in found}
    if arguments.json:
        print(json.dumps({"corpus_bytes": size, "cores": os.cpu_count(), "faces": figures}, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()
