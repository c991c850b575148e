"""The record of a stack."""

import os
from datetime import UTC, datetime
from pathlib import Path

from repoloom.up.folder import Folder
from repoloom.up.record import StackRecord, read_record, write_record


def test_a_record_that_the_disk_does_not_take_ends_nothing_and_the_one_before_it_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    early = StackRecord(pid=os.getpid(), started=datetime.now(UTC), build="", store="", env="", ready=False, parts=())
    late = early.model_copy(update={"ready": True})
    with folder.held():
        assert write_record(folder, early)
        draft = tmp_path / ".up.json.new"
        draft.mkdir()
        assert not write_record(folder, late)
        assert read_record(folder) == early
        draft.rmdir()
        assert write_record(folder, late)
        assert read_record(folder) == late
