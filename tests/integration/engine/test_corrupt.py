"""Bytes that are not what was committed stop the run with one error that names them and the way out."""

import re
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from killing import die_at
from one_process import copy, forked
from probing import Probe, committed

from repoloom.corpus.dataset import Dataset
from repoloom.engine.plan import Table
from repoloom.engine.retry import forget
from repoloom.errors import CorruptDataError
from repoloom.recipe.run import verify


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


def _interrupt(dataset: Path) -> None:
    """Leaves of a dataset what a run leaves that was killed before it wrote its log."""
    (dataset / "manifest.json").unlink()
    rmtree(dataset / "log")


def _harm_commit(dataset: Path) -> Path:
    _interrupt(dataset)
    record = next(dataset.rglob("commit.json"))
    record.write_bytes(b'{"task": ')
    return record


def _swap_commits(dataset: Path) -> Path:
    _interrupt(dataset)
    other, record, *_ = dataset.rglob("commit.json")
    record.write_bytes(other.read_bytes())
    return record


def _harm_failures(dataset: Path) -> Path:
    _interrupt(dataset)
    commit = next(dataset.rglob("commit.json"))
    commit.unlink()
    record = dataset / "failures" / f"{commit.parent.name}.json"
    record.parent.mkdir()
    record.write_bytes(b'{"task": ')
    return record


def _harm_log(dataset: Path) -> Path:
    (dataset / "manifest.json").unlink()
    record = next((dataset / "log").iterdir())
    _truncate(record)
    return record


def _harm_listing(dataset: Path) -> Path:
    (dataset.parent / "probe.copy" / "manifest.json").unlink()
    record = next((dataset / "parts").glob("files-*"))
    _flip(record)
    return record


@pytest.mark.parametrize("harm", [_harm_commit, _swap_commits, _harm_failures, _harm_log, _harm_listing])
def test_a_corrupt_record_stops_the_run_and_is_made_anew_on_demand(
    tmp_path: Path, undisturbed: str, harm: Callable[[Path], Path]
) -> None:
    probe = Probe(tmp_path)
    probe.run()
    dataset = tmp_path / ("probe.make" if harm is _harm_listing else "probe.copy")
    record = harm(dataset)

    ended = probe.run()

    assert re.match(rf"\w+Error: {record} (cannot be read|is corrupt)", ended.error), ended.error
    assert ended.error.count("\n") == 1
    assert f"`repoloom retry {dataset}`" in ended.error
    forgotten = forget(str(dataset))
    assert (forgotten.failures, forgotten.corrupt) == ((1, 0) if harm is _harm_failures else (0, 1))
    assert probe.run().digest == undisturbed


def test_verify_reads_the_log_of_commits_too(tmp_path: Path) -> None:
    Probe(tmp_path).run()
    dataset = tmp_path / "probe.copy"
    verify(str(dataset))
    record = next((dataset / "log").iterdir())
    _flip(record)

    with pytest.raises(CorruptDataError, match=rf"^{record} is corrupt; `repoloom retry {dataset}`"):
        verify(str(dataset))


def test_killed_at_every_event_forgetting_can_be_begun_again(tmp_path: Path) -> None:
    Probe(tmp_path, step=None, make={"repositories": 3}).run()
    files = Table(Dataset.open(str(tmp_path / "probe.make")), "files")
    whole = tmp_path / "whole"
    digest = copy(files, whole).digest
    good, corrupt = (next(whole.glob(f"tasks/{task.name}/files-*")) for task in (whole / "tasks").iterdir())
    _flip(corrupt)
    for event in count(1):
        out = tmp_path / f"{event}"
        copytree(whole, out)
        status = forked(lambda out=out, event=event: (die_at(event, below=str(out)), forget(str(out))))
        copy(files, out)  # whatever was forgotten by then is done
        forget(str(out))
        dataset = copy(files, out)
        dataset.verify()
        assert dataset.digest == digest
        assert (out / good.relative_to(whole)).stat().st_mtime_ns == good.stat().st_mtime_ns, "what is well is kept"
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert event > 15


def test_a_corrupt_manifest_is_made_anew(tmp_path: Path, undisturbed: str) -> None:
    probe = Probe(tmp_path)
    probe.run()
    before = committed(tmp_path)
    for manifest in tmp_path.glob("*/manifest.json"):
        _truncate(manifest)
    assert probe.run().digest == undisturbed
    assert committed(tmp_path) == before


def test_a_corrupt_manifest_is_said_to_be_one(tmp_path: Path) -> None:
    Probe(tmp_path, step=None).run()
    manifest = tmp_path / "probe.make" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    with pytest.raises(CorruptDataError, match=r"manifest\.json cannot be read"):
        Dataset.open(str(manifest.parent))
