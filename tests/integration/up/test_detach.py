"""A stack of which nobody was told does not come up."""

from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from repoloom.up import detach
from repoloom.up.folder import Folder


def test_a_start_that_is_broken_off_before_it_has_the_folder_leaves_neither_process_nor_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "up")
    before = psutil.Process().children()

    def interrupted(_: Folder) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(detach, "read_record", interrupted)
    options = ("--folder", str(folder.path), "--workers", "0", "--services", "none", "--store", str(tmp_path / "store"))
    with pytest.raises(KeyboardInterrupt), folder.unless_unused():
        detach.start_detached(folder, options)

    left = [process for process in psutil.Process().children() if process not in before]
    for process in left:
        process.kill()
    assert not left
    assert not folder.path.exists()
