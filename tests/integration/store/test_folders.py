"""A folder of files is put into a store, taken out of it, and leaves alone what others have there."""

from pathlib import Path

import pytest

from repoloom.store import Store, write
from repoloom.store.folders import download, upload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's files."""
    made = tmp_path / "folder"
    made.mkdir()
    for name in ("config.json", "model.safetensors"):
        (made / name).write_text(name)
    return made


def test_what_is_uploaded_replaces_the_files_of_the_one_before(store: Store, folder: Path, tmp_path: Path) -> None:
    for key in ("mine/model/model.safetensors", "mine/model/former.json"):
        write(store, key, b"former")
    digests = upload(folder, store, "mine/model")
    assert list(store.list("mine")) == ["mine/model/config.json", "mine/model/model.safetensors"]
    (tmp_path / "back").mkdir()
    assert download(store, "mine/model", tmp_path / "back") == digests
    assert (tmp_path / "back" / "model.safetensors").read_text() == "model.safetensors"


def test_what_lies_in_folders_below_or_beside_stays(store: Store, folder: Path) -> None:
    others = {
        "mine/model-other/model.safetensors",
        "mine/model/model/model.safetensors",
        "mine/model/train/ab/step-000000012.json",
        "mine/model/training.json/ab",
    }
    for key in others:
        write(store, key, b"another's")
    upload(folder, store, "mine/model")
    assert {key for key in store.list("mine") if store.read(key) == b"another's"} == others
