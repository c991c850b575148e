"""A dataset on S3 is the dataset that a folder would hold, whoever makes it, and each part of it is fetched once."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from faulty import Fault, FaultyProxy
from s3_servers import S3Server

from repoloom.corpus import local_copies, reading
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.local_copies import LocalCopies
from repoloom.corpus.manifest import Manifest, Part
from repoloom.corpus.reading import TableReader
from repoloom.corpus.writing import TaskWriter
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store, write
from repoloom.store.s3 import S3Store

TESTS = Path(__file__).parents[2]
ROWS = 40
SCHEMA = pa.schema([("repo", pa.string()), ("content", pa.binary())])


def _start(out: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """A whole run of probe.make and probe.copy."""
    wanted = {
        "out": out,
        "make": {"repositories": 12, "size": 20_000},
        "step": "probe.copy",
        "params": {},
        "workers": 2,
        "limits": {},
        "policy": {"task_bytes": 1, "attempts": 2},
    }
    return subprocess.Popen(
        [sys.executable, str(TESTS / "extra_stages" / "probe_run.py"), json.dumps(wanted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS / "extra_stages"), **environment},
    )


def _digest(run: "subprocess.Popen[str]") -> str:
    answer, error = run.communicate()
    assert run.returncode == 0, error
    digest: str = json.loads(answer)["digest"]
    return digest


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run in a folder."""
    return _digest(_start(str(tmp_path_factory.mktemp("folder")), {}))


def test_a_run_on_s3_makes_the_dataset_of_a_folder(server: S3Server, here: str, undisturbed: str) -> None:
    assert _digest(_start(here, server.environment())) == undisturbed
    made = Dataset.open(f"{here}/probe.copy")
    made.verify()
    assert made.digest == undisturbed
    assert sum(batch.num_rows for batch in made.batches("files")) == 12 * 2


def test_runs_that_do_the_same_tasks_at_once_make_one_dataset(server: S3Server, here: str, undisturbed: str) -> None:
    """Also where the server ignores conditions: every writer of a key writes the same bytes there."""
    runs = [_start(here, server.environment()) for _ in range(3)]
    assert [_digest(run) for run in runs] == [undisturbed] * 3
    made = Dataset.open(f"{here}/probe.copy")
    made.verify()
    assert made.digest == undisturbed


def test_runs_at_once_under_faults_make_one_dataset(server: S3Server, here: str, undisturbed: str) -> None:
    rates = {Fault.ERROR_503: 0.05, Fault.CUT_UPLOAD: 0.05, Fault.LOST_ANSWER: 0.05, Fault.TRUNCATE: 0.05}
    with FaultyProxy(server.address, {**rates, Fault.FLIP: 0.02, Fault.STALE_LISTING: 0.2}, seed=3) as proxy:
        runs = [_start(here, server.environment(proxy.address)) for _ in range(2)]
        assert [_digest(run) for run in runs] == [undisturbed] * 2
        assert set(proxy.happened) >= set(rates)
    Dataset.open(f"{here}/probe.copy").verify()


@pytest.fixture
def parts(here: str, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Four parts of a table at `here`, and a cache that holds nothing yet."""
    monkeypatch.setattr(reading, "_copies", LocalCopies(1 << 30, 128))
    draw = random.Random(0)
    rows = [{"repo": f"r{n}", "content": draw.randbytes(50_000)} for n in range(ROWS)]
    with TaskWriter(open_store(here), "tasks/t", {"table": SCHEMA, "raw": None}) as out:
        for start in range(0, ROWS, 10):
            out.write("table", pa.RecordBatch.from_pylist(rows[start : start + 10], schema=SCHEMA))
            out.roll("table")
        return list(out.finish()["table"])


def _rows(here: str, parts: list[Part]) -> int:
    return sum(batch.num_rows for batch in TableReader(here, parts).batches())


def test_a_part_is_fetched_once_however_often_it_is_read(
    server: S3Server, here: str, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyProxy(server.address) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{proxy.address}")
        assert TableReader(here, parts).columns() == ["repo", "content"]
        assert [_rows(here, parts) for _ in range(3)] == [ROWS] * 3
        assert proxy.requests == len(parts)


def test_copies_make_room_for_each_other(
    server: S3Server, here: str, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 2 * max(part.bytes for part in parts)
    copies = LocalCopies(room, 128)
    monkeypatch.setattr(reading, "_copies", copies)
    with FaultyProxy(server.address) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{proxy.address}")
        batches = TableReader(here, parts[:1]).batches()
        first = next(batches)
        assert _rows(here, parts) == ROWS
        assert sum(size for _, size in copies._held.values()) <= room
        assert first.num_rows + sum(batch.num_rows for batch in batches) == 10, "a reader keeps what was let go"
        asked = proxy.requests
        assert _rows(here, parts[2:]) == ROWS // 2
        assert proxy.requests == asked, "what was read last is held"
        assert _rows(here, parts[:1]) == 10
        assert proxy.requests == asked + 1


class _Harming(FaultyProxy):
    """Flips a bit of each object that is read the first time, and sends half of it the second time."""

    def draw(self, request: str) -> Fault | None:
        fault = {0: Fault.FLIP, 1: Fault.TRUNCATE}.get(self._seen[request])
        self.rates = {fault: 1.0} if fault else {}
        return super().draw(request)


def test_a_part_that_was_harmed_on_the_way_is_fetched_again(
    server: S3Server, here: str, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _Harming(server.address) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{proxy.address}")
        assert _rows(here, parts) == ROWS
        assert proxy.happened == {Fault.FLIP: len(parts), Fault.TRUNCATE: len(parts)}


@pytest.mark.parametrize("harm", ["flip", "longer", "gone"])
def test_no_row_of_a_corrupt_part_is_handed_out(here: str, parts: list[Part], harm: str) -> None:
    store = S3Store(here)
    content = bytearray(store.read(parts[0].key))
    content[len(content) // 2] ^= 1
    if harm == "gone":
        store.delete(parts[0].key)
    else:
        write(store, parts[0].key, bytes(content) if harm == "flip" else store.read(parts[0].key) + bytes(9 << 20))
    batches = TableReader(here, parts).batches()
    with pytest.raises(CorruptDataError, match=rf"{parts[0].key} is (corrupt|missing).*`repoloom retry {here}`"):
        next(batches)


def test_a_part_has_a_local_path_that_can_be_mapped(store: Store) -> None:
    content = np.arange(100_000, dtype=np.uint16)
    with TaskWriter(store, "tasks/t", {"raw": None}) as out:
        out.blob("raw", "0.bin", content.tobytes(), rows=1)
        (part,) = out.finish()["raw"]
    dataset = Dataset(store.uri, Manifest.model_construct())
    path = dataset.local_path(part)
    assert np.array_equal(np.memmap(path, np.uint16, mode="r"), content)
    assert dataset.local_path(part) == path
    assert list(TableReader(store.uri, [part]).blobs()) == [content.tobytes()]


def test_copies_end_with_their_process_however_it_ends(
    server: S3Server, here: str, parts: list[Part], tmp_path: Path
) -> None:
    code = (
        "import sys, os, signal\n"
        "from repoloom.corpus.local_copies import named_copy\n"
        "from repoloom.corpus.manifest import Part\n"
        "from repoloom.corpus.reading import fetch_part, open_part\n"
        "from repoloom.store import open_store\n"
        "store, part = open_store(sys.argv[1]), Part.model_validate_json(sys.argv[2])\n"
        "open_part(store, part)\n"
        "print(named_copy('copy', lambda file: fetch_part(store, part, file)), flush=True)\n"
        "sys.argv[3] == 'killed' and os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, **server.environment(), "TMPDIR": str(tmp_path)}
    for how, left in (("killed", 1), ("ended", 0)):
        command = [sys.executable, "-c", code, here, parts[0].model_dump_json(), how]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert run.stdout.startswith(str(tmp_path)), run.stderr
        assert len(list(tmp_path.glob("repoloom-*"))) == left, "what a killed process left, the next one removes"


def test_a_living_process_keeps_its_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    local_copies._folder.cache_clear()
    path = local_copies.named_copy("copy", lambda file: file.write(b"content") and None)
    local_copies._remove_orphans()
    assert path.read_bytes() == b"content"
    local_copies._folder.cache_clear()
