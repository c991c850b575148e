"""Bytes that are not what was committed stop the run with one error that names them and the way out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from probing import Probe, committed

from repoloom.corpus.dataset import Dataset
from repoloom.engine.retry import forget
from repoloom.errors import CorruptDataError


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "said"), [(_flip, "is corrupt"), (_truncate, "is corrupt"), (Path.unlink, "is missing")]
)
def test_a_corrupt_part_stops_the_run_and_is_made_anew_on_demand(
    tmp_path: Path, undisturbed: str, harm: Callable[[Path], None], said: str
) -> None:
    probe = Probe(tmp_path)
    Probe(tmp_path, step=None).run()
    made = Dataset.open(str(tmp_path / "probe.make"))
    part = tmp_path / "probe.make" / made.parts("files")[3].key
    harm(part)
    before = committed(tmp_path / "probe.make")

    ended = probe.run()

    assert ended.digest is None
    assert ended.error.count("\n") == 1
    assert ended.error.startswith(f"FatalError: {part} {said}")
    assert f"`repoloom retry {made.uri}`" in ended.error
    assert committed(tmp_path / "probe.make") == before
    with pytest.raises(CorruptDataError, match=said):
        made.verify()

    assert forget(made.uri).corrupt == 1
    assert probe.run().digest == undisturbed


@pytest.mark.parametrize("name", ["commit.json", "failures"])
def test_a_corrupt_record_stops_the_run_and_is_made_anew_on_demand(tmp_path: Path, undisturbed: str, name: str) -> None:
    probe = Probe(tmp_path)
    probe.run()
    copied = tmp_path / "probe.copy"
    record = next(copied.rglob("commit.json"))
    if name == "failures":
        task = record.parent.name
        record.unlink()
        record = copied / "failures" / f"{task}.json"
        record.parent.mkdir()
    record.write_bytes(b'{"task": ')

    ended = probe.run()

    assert ended.error.startswith(f"CorruptDataError: {record} cannot be read")
    assert ended.error.count("\n") == 1
    forget(str(copied))
    assert probe.run().digest == undisturbed


def test_a_corrupt_manifest_is_said_to_be_one(tmp_path: Path) -> None:
    Probe(tmp_path, step=None).run()
    manifest = tmp_path / "probe.make" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    with pytest.raises(CorruptDataError, match=r"manifest\.json cannot be read"):
        Dataset.open(str(manifest.parent))
