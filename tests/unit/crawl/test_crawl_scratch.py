import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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
