"""A comparison of a stream's repositories: what it holds is bounded, and is free again when nobody waits for it."""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from repoloom import client
from repoloom.engine.step import Reader, Shares, Sink
from repoloom.errors import TooLargeError
from repoloom.protos.corpus.v1.corpus_pb2 import Document
from repoloom.protos.deduper.v1.deduper_pb2 import ClusterMember, DeduplicateRequest
from repoloom.protos.deduper.v1.deduper_pb2_grpc import DeduperServiceStub
from repoloom.stages.dedup.alarms import Alarms
from repoloom.stages.dedup.verify import Verify
from repoloom_services import deduper

Serve = Callable[..., str]

SECONDS = 60
TEXT = " ".join(f"word{number}" for number in range(3000)).encode()  # its sketch is full: 8 KiB


def copies(count: int) -> list[Document]:
    span = {"path": "f.py", "language": "Python", "end": len(TEXT)}
    return [Document(repo=f"git/{number}", text=TEXT, spans=[span]) for number in range(count)]


class Ends(logging.Handler):
    """Tells when a call has ended for its server."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.seen.set()


@pytest.fixture
def ends() -> Iterator[Ends]:
    handler, logger = Ends(), logging.getLogger("repoloom.rpc.access")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.mark.parametrize("leaves", ["cancelled", "at its deadline"])
def test_a_comparison_that_nobody_waits_for_ends_and_leaves_nothing(
    serve: Serve, ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    comparing = threading.Event()
    compare, alarm = Verify.run, Alarms.plan
    alarmed = 0

    def compare_when_alone(self: Verify, inputs: Mapping[str, Reader], out: Sink) -> None:
        comparing.set()
        assert ends.seen.wait(SECONDS)
        compare(self, inputs, out)

    def count(self: Alarms, tables: Shares, task_bytes: int) -> Iterable[Shares]:
        nonlocal alarmed
        alarmed += 1
        return alarm(self, tables, task_bytes)

    monkeypatch.setattr(Verify, "run", compare_when_alone)
    monkeypatch.setattr(Alarms, "plan", count)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    address = serve(threads=1)
    with grpc.insecure_channel(address) as channel:
        seconds = SECONDS if leaves == "cancelled" else 3
        call: Any = DeduperServiceStub(channel).Deduplicate(
            iter([DeduplicateRequest(documents=copies(20))]), timeout=seconds
        )
        assert comparing.wait(SECONDS)
        if leaves == "cancelled":
            call.cancel()
        assert ends.seen.wait(SECONDS)
    with client.Deduper(address) as service:  # there is one thread: it is free, or this waits
        rows = list(service.deduplicate(copies(2)))

    assert [row.repo for row in rows if isinstance(row, ClusterMember)] == ["git/0", "git/1"]
    assert alarmed == 1  # by the second: the first one never came to its last step
    assert not [*(tmp_path / "scratch").iterdir()]


def test_a_comparison_holds_no_more_than_it_may(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduper, "STREAM_BYTES", 1 << 20)
    with client.Deduper(serve()) as service:
        assert list(service.deduplicate(copies(50)))
        with pytest.raises(TooLargeError, match="a batch job has no such limit"):
            list(service.deduplicate(copies(500)))
        assert list(service.deduplicate(copies(50)))
