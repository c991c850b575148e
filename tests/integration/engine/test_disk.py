"""A disk that is full or read-only costs a run its end and nothing that was committed."""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from probing import Disk, Probe, committed, verify_commits

MAKE = {"size": 12_000}  # about 20 KiB a part: a disk fills up in the middle of one


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    ended = Probe(tmp_path_factory.mktemp("roomy"), make=MAKE).run()
    assert ended.digest is not None, ended.error
    return ended.digest


def _probe(disk: Disk) -> Probe:
    return Probe(Path(disk.mounted_at) / "out", make=MAKE, within=disk.within)


def test_however_often_the_disk_is_full_more_space_lets_the_run_go_on(disk: Disk, digest: str) -> None:
    probe = _probe(disk)
    commits = []
    for size in ("64k", "164k", "200k", "240k", "272k"):
        disk.remount(f"size={size}")
        before = committed(disk.seen_from_here)

        ended = probe.run()

        assert ended.digest is None
        assert ended.error.count("\n") == 1, ended.error
        assert "cannot write" in ended.error
        assert "the disk is full; free some space and run again, what is committed is kept" in ended.error
        assert before.items() <= committed(disk.seen_from_here).items()
        commits.append(verify_commits(disk.seen_from_here))
    assert commits[0] == 0
    assert commits == sorted(commits)
    assert 1 < commits[-1] < 9
    disk.remount("size=8m")
    assert probe.run().digest == digest


def test_a_read_only_folder_is_said_to_be_one_and_left_as_it_is(disk: Disk, digest: str) -> None:
    disk.remount("size=8m")
    probe = _probe(disk)
    probe.step = None
    probe.run()
    before = committed(disk.seen_from_here)
    probe.step = "probe.copy"
    disk.remount("ro")

    ended = probe.run()

    assert ended.digest is None
    assert ended.error.count("\n") == 1, ended.error
    assert "the file system is read-only; choose another --out" in ended.error
    assert committed(disk.seen_from_here) == before
    disk.remount("rw")
    assert probe.run().digest == digest


def test_a_file_where_a_folder_is_needed_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    ended = Probe(tmp_path / "out").run()
    assert ended.error.count("\n") == 1, ended.error
    assert "a file stands where a folder is needed; choose another --out" in ended.error


def _an_archive(folder: Path) -> dict[str, str]:
    with tarfile.open(folder / "source.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("a.py")
        member.size = 1 << 20
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return {"kind": "archive", "path": str(folder / "source.tar.gz")}


def _a_git_repository(folder: Path) -> dict[str, str]:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    (folder / "a.py").write_bytes(random.Random(0).randbytes(1 << 20))
    for arguments in (["init", "--quiet"], ["add", "a.py"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
    return {"kind": "git", "path": str(folder)}


@pytest.mark.parametrize("make", [_an_archive, _a_git_repository], ids=["archive", "git"])
def test_no_source_is_blamed_for_a_full_scratch_folder(
    disk: Disk, tmp_path: Path, make: Callable[[Path], dict[str, str]]
) -> None:
    disk.remount("size=512k")
    (tmp_path / "source").mkdir()
    sources = json.dumps([make(tmp_path / "source")])
    crawl = ["crawl", "--out", str(tmp_path / "out"), "--set", f"sources={sources}"]

    ended = subprocess.run(
        [*disk.within, sys.executable, "-c", "from repoloom.cli import main; main()", *crawl],
        env={**os.environ, "TMPDIR": disk.mounted_at},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert disk.mounted_at in ended.stderr
    assert "TMPDIR" in ended.stderr
