import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from repoloom.errors import StoreError
from repoloom.stages.crawl.scratch import scratch_folder, sweep


def test_only_the_folders_of_dead_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os\nfrom repoloom.stages.crawl.scratch import scratch_folder\n"
            "with scratch_folder() as folder:\n (folder / 'x').write_text('x')\n os.kill(os.getpid(), 9)",
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert killed.returncode == -9
    (orphan,) = tmp_path.iterdir()
    (tmp_path / "repoloom-crawl-notes").mkdir()
    with scratch_folder() as own:
        sweep()
        assert not orphan.exists()
        assert {path.name for path in tmp_path.iterdir()} == {own.name, "repoloom-crawl-notes"}


@pytest.mark.parametrize("use", [sweep, lambda: scratch_folder().__enter__()], ids=["sweep", "scratch_folder"])
def test_a_machine_without_a_folder_for_scratch_says_so(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[], object]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/a/full/disk"])
    with pytest.raises(
        StoreError, match=r"in any scratch folder: No usable temporary directory .*'/a/full/disk'.*; free"
    ):
        use()
