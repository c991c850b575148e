import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from repoloom.corpus.kernel_cache import cache_folder


def test_compiled_loops_lie_beside_their_source_where_that_can_be_written(tmp_path: Path) -> None:
    folder = cache_folder(tmp_path / "__pycache__", "1")
    assert folder.is_dir()
    assert folder.parent == tmp_path / "__pycache__"
    assert cache_folder(tmp_path / "__pycache__", "2") != folder


def _unwritable(place: Path) -> Path:
    """A place below which there can be no folder, whoever asks."""
    (place / "file").touch()
    return place / "file" / "__pycache__"


def test_they_lie_in_a_folder_of_this_user_alone_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache_folder(_unwritable(tmp_path), "1")
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_folder(_unwritable(tmp_path), "1") == folder


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_to_all = cache_folder(_unwritable(tmp_path), "1")
    open_to_all.chmod(0o777)
    folder = cache_folder(_unwritable(tmp_path), "1")
    assert folder != open_to_all
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"repoloom-numba-{os.getuid()}-1").symlink_to(tmp_path / "elsewhere")
    assert not cache_folder(_unwritable(tmp_path), "1").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_a_chosen_folder_stays_chosen(tmp_path: Path) -> None:
    program = "import numba, repoloom.corpus.words; print(numba.config.CACHE_DIR)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path)


@pytest.mark.parametrize("stage", ["dedup", "decontaminate", "quality", "tokenize", "pack", "order"])
def test_a_stage_is_known_without_loading_the_compiler(stage: str) -> None:
    program = f"import sys, repoloom.stages.{stage}; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
