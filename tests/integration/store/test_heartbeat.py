"""Whoever waits for what is written hears of each piece that the store has taken, and of nothing else."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faulty import Fault, FaultyProxy
from s3_servers import S3Server

from repoloom.errors import StoreError
from repoloom.heartbeat import Heartbeat
from repoloom.store import Store, write
from repoloom.store.folders import upload
from repoloom.store.s3 import S3Store
from repoloom.training.checkpoint import Checkpoints, Progress, State

LARGE = bytes(70 << 20)
PARTS = 5  # of 16 MiB
PATIENCE = 20.0


class Heart:
    """Counts beats, and holds them to come from the thread that writes."""

    def __init__(self) -> None:
        self.beats = 0
        self._thread = threading.get_ident()

    def __call__(self) -> None:
        assert threading.get_ident() == self._thread
        self.beats += 1


class SlowProxy(FaultyProxy):
    """Once it is slow, keeps the answer to each part of an upload until somebody has heard of the one before."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.slow = False
        self.heard = threading.Semaphore(1)
        self.parts: list[bool] = []

    def answered(self, request: str, status: int) -> None:
        if self.slow and "partNumber" in request and status == 200:
            self.parts.append(self.heard.acquire(timeout=PATIENCE))


@pytest.fixture
def slow(server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowProxy]:
    with SlowProxy(server.address) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{proxy.address}")
        write(S3Store(here), "object", LARGE[: 2 << 20])  # whether one hash is enough is asked with a part, once
        proxy.slow = True
        yield proxy


def _write_object(store: Store, folder: Path, heartbeat: Heartbeat) -> None:
    assert folder
    with store.create("object", heartbeat) as file:
        file.write(LARGE)


def _upload_folder(store: Store, folder: Path, heartbeat: Heartbeat) -> None:
    (folder / "model.safetensors").write_bytes(LARGE)
    upload(folder, store, "model", heartbeat)


def _save_checkpoint(store: Store, folder: Path, heartbeat: Heartbeat) -> None:
    assert folder
    state = State({"weight": torch.zeros(len(LARGE) // 4)}, {})
    Checkpoints(store, "train/r", keep=1).save(state, Progress(run="r", step=1), heartbeat)


@pytest.mark.parametrize("send", [_write_object, _upload_folder, _save_checkpoint])
def test_a_heart_beats_while_parts_are_sent(
    slow: SlowProxy, here: str, tmp_path: Path, send: Callable[[Store, Path, Heartbeat], None]
) -> None:
    heart = Heart()

    def beat() -> None:
        heart()
        if slow.parts:
            slow.heard.release()

    send(S3Store(here), tmp_path, beat)
    assert slow.parts[:PARTS] == [True] * PARTS


def test_a_heart_beats_for_what_has_arrived_and_for_nothing_before(store: Store) -> None:
    for content in (b"small", LARGE):
        heart = Heart()
        with store.create("object", heart) as file:
            file.write(content)
            assert heart.beats == 0
        in_parts = store.uri.startswith("s3://") and content is LARGE
        assert heart.beats == (PARTS + 1 if in_parts else 1)


@pytest.mark.parametrize("size", [1000, len(LARGE)])
def test_a_heart_rests_where_nothing_gets_through(
    server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    heart = Heart()
    with FaultyProxy(server.address, {Fault.CUT_UPLOAD: 1.0}) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{proxy.address}")
        store = S3Store(here, patience=1)
        with pytest.raises(StoreError, match="given up"), store.create("object", heart) as file:
            file.write(LARGE[:size])
    assert heart.beats == 0


def test_a_heart_that_fails_ends_the_upload(here: str, server: S3Server) -> None:
    def fail() -> None:
        raise StoreError("nobody hears it")

    with pytest.raises(StoreError, match="nobody hears it"), S3Store(here).create("object", fail) as file:
        file.write(LARGE)
    assert not S3Store(here).exists("object")
    assert server.process.poll() is None
