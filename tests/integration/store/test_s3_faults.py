"""Whatever the network does to single requests, an S3 store ends right, and nobody sees half an object."""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3_servers
from faulty import Fault, FaultyProxy
from s3_servers import S3Server

from repoloom.errors import StoreError
from repoloom.store import write
from repoloom.store.s3 import S3Store
from repoloom.store.s3_requests import Requests

LARGE = random.Random(0).randbytes(36 << 20)
CONTENTS = {f"objects/{number}": random.Random(number).randbytes(1 << number) for number in range(12, 22)}
RATES = {
    Fault.ERROR_500: 0.05,
    Fault.ERROR_503: 0.05,
    Fault.DELAY: 0.02,
    Fault.CUT_UPLOAD: 0.06,
    Fault.FLIP_UPLOAD: 0.05,
    Fault.LOST_ANSWER: 0.06,
    Fault.TRUNCATE: 0.06,
    Fault.FLIP: 0.05,
}


@pytest.fixture
def proxy(server: S3Server, here: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    assert here
    with FaultyProxy(server.address, seed=1) as running:
        for name, value in server.environment(running.address).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_under_faults_is_read_under_faults(proxy: FaultyProxy, here: str, seed: int) -> None:
    proxy.seed, proxy.rates = seed, dict(RATES)
    store = S3Store(here)
    for key, content in CONTENTS.items():
        write(store, key, content)
    write(store, "large", LARGE)
    assert list(store.list("objects")) == sorted(CONTENTS)
    assert all(store.read(key) == content for key, content in CONTENTS.items())
    assert all(store.exists(key) for key in CONTENTS)
    proxy.rates.pop(Fault.FLIP)  # what is streamed is checked by those who know its digest
    with store.open("large") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(LARGE).digest()
    for key in CONTENTS:
        store.delete(key)
    assert list(store.list("objects")) == []
    assert set(proxy.happened) >= set(RATES) - {Fault.DELAY, Fault.FLIP, Fault.FLIP_UPLOAD}


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.STALE_LISTING])
def test_each_fault_is_outlasted_by_small_and_large_objects(proxy: FaultyProxy, here: str, fault: Fault) -> None:
    proxy.rates = {fault: 0.4}
    store = S3Store(here)
    write(store, "small", b"small" * 1000)
    write(store, "large", LARGE)
    assert store.read("small") == b"small" * 1000
    proxy.rates = {} if fault is Fault.FLIP else proxy.rates
    with store.open("large") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(LARGE).digest()
    assert proxy.happened[fault]


@pytest.mark.parametrize("fault", [Fault.CUT_UPLOAD, Fault.FLIP_UPLOAD, Fault.ERROR_503])
@pytest.mark.parametrize("content", [b"new" * 1000, LARGE[: 2 << 20], LARGE], ids=["small", "one request", "large"])
def test_a_write_that_never_gets_through_leaves_the_old_object(
    proxy: FaultyProxy, here: str, fault: Fault, content: bytes
) -> None:
    store = S3Store(here, patience=1)
    write(store, "object", b"old")
    proxy.rates = {fault: 1.0}
    with pytest.raises(StoreError, match=f"{here}/object at http://{proxy.address}: "):
        write(store, "object", content)
    proxy.rates = {}
    assert store.read("object") == b"old"


def test_a_server_is_asked_once_whether_one_hash_is_enough(proxy: FaultyProxy, here: str, server: S3Server) -> None:
    """A small object is sent with two in any case, so nothing is asked for it."""
    store, name = S3Store(here), here.removeprefix("s3://tests/")
    for number, content in enumerate([b"small", *[LARGE[: 2 << 20]] * 2]):
        write(store, str(number), content)
    asked = 3  # an upload, its part, and its end
    assert proxy.requests == 3 + asked
    assert [found.object_name for found in server.client().list_objects("tests", f"{name}/")] == [
        f"{name}/{number}" for number in range(3)
    ]
    enough = store._requests.do(name, lambda client: client.compares_bodies("tests", name))
    assert enough == (server.name == "minio")


def test_a_reader_sees_old_or_new_but_never_a_part(proxy: FaultyProxy, here: str) -> None:
    """One thread writes an object over and over under faults; what others read meanwhile is whole."""
    store, direct = S3Store(here), S3Store(here)
    write(store, "object", bytes([0]) * (1 << 20))
    proxy.rates = {Fault.CUT_UPLOAD: 0.3, Fault.LOST_ANSWER: 0.2, Fault.TRUNCATE: 0.2}
    done = threading.Event()
    halves: list[int] = []

    def look() -> None:
        while not done.is_set():
            content = direct.read("object")
            if content != content[:1] * (1 << 20):
                halves.append(len(content))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(1, 30):
            write(store, "object", bytes([number]) * (1 << 20))
    finally:
        done.set()
        reader.join()
    assert halves == []


def test_a_listing_may_be_stale_and_an_object_is_read_all_the_same(proxy: FaultyProxy, here: str) -> None:
    store = S3Store(here)
    write(store, "tasks/1", b"1")
    proxy.rates = {Fault.STALE_LISTING: 1.0}
    assert list(store.list("tasks")) == ["tasks/1"]
    write(store, "tasks/2", b"2")
    assert list(store.list("tasks")) == ["tasks/1"]
    assert store.exists("tasks/2")
    assert store.read("tasks/2") == b"2"


@pytest.mark.parametrize("halt", [FaultyProxy.stop, FaultyProxy.pause])
@pytest.mark.parametrize("action", ["write", "read"])
def test_work_goes_on_when_the_server_is_back(
    proxy: FaultyProxy, here: str, halt: Callable[[FaultyProxy], None], action: str
) -> None:
    store = S3Store(here)
    write(store, "object", LARGE)
    seen = proxy.requests

    def act() -> None:
        if action == "write":
            write(store, "object", LARGE)
        else:
            assert store.read("object") == LARGE

    halt(proxy)
    worker = threading.Thread(target=act)
    worker.start()
    time.sleep(0.5)
    assert worker.is_alive()
    if halt is FaultyProxy.stop:
        proxy.start()
    proxy.resume()
    worker.join()
    assert proxy.requests > seen
    assert store.read("object") == LARGE


def test_a_server_that_was_killed_and_came_back_has_whole_objects_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL to the server in the midst of many writes; the writers go on when it is back."""
    kind = s3_servers.kinds()[-1]
    store: S3Store
    with s3_servers.serve(kind, tmp_path / "data") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store = S3Store("s3://tests/killed")
        writers = [threading.Thread(target=write, args=(store, f"large/{n}", LARGE[n:])) for n in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(0.3)
    port = int(server.address.rpartition(":")[2])
    with s3_servers.serve(kind, tmp_path / "data", port, server.secret_key):
        for writer in writers:
            writer.join()
        for n in range(4):
            assert store.read(f"large/{n}") == LARGE[n:]


def test_a_forked_child_uses_connections_of_its_own(proxy: FaultyProxy, here: str) -> None:
    assert proxy
    store = S3Store(here)
    write(store, "parent", LARGE)
    with store.open("parent") as file:
        assert file.read(1000) == LARGE[:1000]
        child = os.fork()
        if child == 0:
            write(store, "child", store.read("parent")[:5000])
            os._exit(0 if store.read("child") == LARGE[:5000] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert file.read() == LARGE[1000:]


def test_an_object_that_is_overwritten_while_it_is_read_is_no_mixture(proxy: FaultyProxy, here: str) -> None:
    store = S3Store(here)
    write(store, "object", LARGE)
    with store.open("object") as file:
        file.read(1000)
        write(store, "object", LARGE[::-1])
        proxy.stop()
        proxy.start()
        with pytest.raises(StoreError, match="was overwritten while it was read"):
            file.read()


def test_a_clock_that_jumped_is_waited_for(here: str, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only MinIO's server looks at the time of a request."""
    if server.name != "minio":
        pytest.skip("this server does not look at the time of a request")
    from datetime import UTC, datetime, timedelta

    import minio.api

    wrong = time.monotonic() + 0.5
    monkeypatch.setattr(
        minio.api.time,
        "utcnow",
        lambda: datetime.now(UTC) - (timedelta(hours=2) if time.monotonic() < wrong else timedelta()),
    )
    store = S3Store(here)
    write(store, "object", b"content")
    assert time.monotonic() > wrong
    assert store.read("object") == b"content"
    monkeypatch.setattr(minio.api.time, "utcnow", lambda: datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(StoreError, match="given up after 1 s, last the server answered RequestTimeTooSkewed"):
        S3Store(here, patience=1).read("object")


def test_waits_grow_and_are_drawn_and_end_with_the_budget(monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    assert here
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("repoloom.store.s3_requests.time.monotonic", lambda: now[0])
    monkeypatch.setattr("repoloom.store.s3_requests.time.sleep", sleep)
    monkeypatch.setattr("repoloom.store.s3_requests.random.uniform", lambda low, high: low + high)
    requests = S3Store(here, patience=100)._requests
    assert isinstance(requests, Requests)

    def fail(_: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        requests.do("name", fail)
    assert pauses == []
    from repoloom.store.s3_client import BusyError

    def busy(_: object) -> None:
        raise BusyError("the server answered 503")

    with pytest.raises(StoreError, match="given up after 100 s, last the server answered 503"):
        requests.do("name", busy)
    assert pauses[:9] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0])
    assert sum(pauses) <= 100
