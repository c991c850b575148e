"""What must hold when the storm is over."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from minio.error import MinioException
from storm import Storm
from stormy_fleet import StormyFleet, digests

from repoloom.corpus.reading import verify_part
from repoloom.engine.log import CommitLog
from repoloom.engine.task import Commit
from repoloom.errors import RepoloomError
from repoloom.recipe.run import verify
from repoloom.store import Store, open_store, s3


def undisturbed(folder: Path, recipe: Path) -> dict[str, str]:
    """The digests of the recipe's datasets, made by worker processes of this machine in a folder, in whatever time."""
    calm = folder / "calm.yaml"
    calm.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "limits": {}}))
    command = [sys.executable, "-c", "from repoloom.cli import main; main()", "run", str(calm), "--json"]
    out = subprocess.run(
        [*command, "--out", str(folder / "calm"), "--workers", "2"], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    return digests(out.stdout)


def problems(fleet: StormyFleet, storm: Storm, expected: Mapping[str, str]) -> Iterator[str]:
    """All that does not hold of a storm that came to its end."""
    if storm.problems:
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fleet.server.environment().items():
            patch.setenv(name, value)
        for run in [*storm.runs, *storm.jobs]:
            yield from _differences(run.uri, run.digests, expected)
            yield from _half_visible(run.uri, run.digests)
        for run in storm.runs:
            yield from _unverified(run.uri)
        patch.setattr(s3, "ABANDONED", timedelta(hours=-1))  # all uploads are of writers that are gone
        yield from _unswept(fleet)
    yield from _run_again(storm)


def _differences(uri: str, digests: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for step, digest in digests.items():
        if digest != expected[step]:
            yield f"{uri}: {step} is {digest}, undisturbed it is {expected[step]}"


def _unverified(uri: str) -> Iterator[str]:
    try:
        verify(uri)
    except RepoloomError as error:
        yield f"verify: {error}"


def _half_visible(uri: str, steps: Mapping[str, str]) -> Iterator[str]:
    """Commits that cannot be read, and parts that a commit or a segment of the log names but that are not there."""
    for step in steps:
        store = open_store(f"{uri}/{step}")
        try:
            list(CommitLog(store).segments())
        except RepoloomError as error:
            yield str(error)
        for key in store.list("tasks"):
            if key.endswith("/commit.json"):
                yield from _unkept(store, key)


def _unkept(store: Store, key: str) -> Iterator[str]:
    try:
        commit = Commit.model_validate_json(store.read(key))
        for part in (part for parts in commit.tables.values() for part in parts):
            verify_part(store, part)
    except (RepoloomError, ValueError) as error:
        yield f"{store.uri}/{key}: {error}"


def _unswept(fleet: StormyFleet) -> Iterator[str]:
    """Uploads that are left after a sweep: of the bucket, since MinIO lists them for all of it or for one name."""
    running = fleet.server.running
    assert running is not None
    with contextlib.suppress(MinioException):  # rclone's server lists them for one name alone
        begun = running.client()._list_multipart_uploads("tests").uploads
        open_store("s3://tests").sweep()
        left = running.client()._list_multipart_uploads("tests").uploads
        if left:
            yield f"of {len(begun)} unfinished uploads {len(left)} are left after a sweep"


def _run_again(storm: Storm) -> Iterator[str]:
    """Runs of a step that began when the commit of their task could be read; and commits that the wire never saw."""
    for task, begun in storm.began:
        if task not in storm.readable:
            yield f"{task} was begun, and no commit of it was ever seen"
        elif begun > storm.readable[task]:
            yield f"{task} was run again {begun - storm.readable[task]:.3f} s after its commit could be read"
