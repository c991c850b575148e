"""A folder on disk: only what lies in it is read, and only regular files."""

import os
from pathlib import Path

import pytest

from repoloom.errors import InputError
from repoloom.stages.order import folder as order_folder
from repoloom.stages.order.folder import edges_of_folder, files_of_folder


def write(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(content)


def test_the_edges_of_a_folder_have_paths_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, main="import b.c\n", b__c="", b____init____="")
    (tmp_path / "b" / "__init__.py").write_text("")
    assert [tuple(edge) for edge in edges_of_folder(tmp_path)] == [("main.py", "b/c.py", 1, "package")]


def test_links_pipes_and_git_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "outside", secret="")
    root = tmp_path / "root"
    write(root, main="import secret, alias, pipe\n")
    (root / ".git").mkdir()
    (root / ".git" / "secret.py").write_text("")
    (root / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    (root / "alias.py").symlink_to(tmp_path / "outside" / "secret.py")
    os.mkfifo(root / "pipe.py")
    assert [file.path for file in files_of_folder(root)] == ["main.py"]
    assert list(edges_of_folder(root)) == []


def test_a_huge_file_is_seen_by_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_folder, "FILE_BYTES", 20)
    write(tmp_path, big="import small\n" * 10, small="import big\n")
    assert [(edge.importer, edge.imported) for edge in edges_of_folder(tmp_path)] == [("small.py", "big.py")]


def test_a_name_that_is_no_utf8_is_no_obstacle(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text("")
    assert [file.path for file in files_of_folder(tmp_path)] == ["\\xff.py"]


def test_what_is_no_folder_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no folder"):
        list(edges_of_folder(tmp_path / "absent"))
    write(tmp_path, a="", b="")
    monkeypatch.setattr(order_folder, "MAX_FILES", 1)
    with pytest.raises(InputError, match="more than 1 files"):
        list(edges_of_folder(tmp_path))
