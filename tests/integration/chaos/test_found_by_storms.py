"""What storms have found, each by itself."""

import time
from datetime import timedelta
from itertools import count
from pathlib import Path

import minio.time
import pytest
import s3_servers
from faulty import Fault, FaultyProxy
from fleet import BUILD, a_fleet
from replica import Replica, request, result

from repoloom.corpus.manifest import Part
from repoloom.corpus.parts import columns_of, read_listing, write_listing
from repoloom.engine.queue.build import NAME
from repoloom.store import open_store, write


class _FlipsFirst(FaultyProxy):
    """Harms the first object that is read."""

    def draw(self, request: str) -> Fault | None:
        if request.startswith("GET") and ".jsonl.zst" in request and not self.happened:
            self.happened[Fault.FLIP] += 1
            return Fault.FLIP
        return None


@pytest.mark.parametrize("kind", s3_servers.kinds())
def test_a_list_of_parts_that_is_harmed_on_the_way_is_read_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of it stopped the run, as if what is stored were corrupt."""
    parts = [Part(key=f"tasks/{n}/part.parquet", sha256=f"{n:064x}", bytes=n, rows=n) for n in range(100)]
    with s3_servers.serve(kind, tmp_path / "data") as server, _FlipsFirst(server.address) as proxy:
        for name, value in server.environment(proxy.address).items():
            monkeypatch.setenv(name, value)
        store = open_store(f"s3://tests/{kind}")  # a place of its own: lists that were read are remembered
        listing = write_listing(store, "files", columns_of(parts))
        assert list(read_listing(store.uri, "files", listing)) == parts
    assert proxy.happened[Fault.FLIP] == 1


@pytest.mark.parametrize("kind", s3_servers.kinds())
@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_wrong_for_a_while_costs_time_alone(
    kind: str, hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclone's server says of a clock that is behind that access is denied, which was taken for the last word."""
    now, asked = minio.time.utcnow, count()
    with s3_servers.serve(kind, tmp_path / "data") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store = open_store("s3://tests/clock")
        write(store, "object", b"content")
        monkeypatch.setattr(minio.time, "utcnow", lambda: now() + timedelta(hours=hours if next(asked) < 3 else 0))
        assert store.read("object") == b"content"
    assert next(asked) > 3


def test_a_job_whose_runner_begins_while_redis_is_away_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a job failed for good, though one that had begun a moment earlier would have gone on."""
    monkeypatch.setenv(NAME, BUILD)
    with a_fleet(tmp_path) as fleet:
        fleet.start()
        fleet.redis.kill(data=True)
        service = Replica({"root": str(fleet.folder)}, fleet.redis.environment)
        try:
            message = request(str(fleet.folder), repositories=2)
            message.limits.seconds = 20
            job = service.send(message).name
            service.until(job, lambda job: job.steps > 0)
            time.sleep(1)
            fleet.redis.start()
            assert result(service.wait(job)).datasets[-1].rows["files"] > 0
        finally:
            service.kill()
