import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from repoloom.errors import InputError
from repoloom.stages.crawl import folder
from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.errors import RepositoryTooLargeError
from repoloom.stages.crawl.fetch import repositories
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import FolderSource, Source

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def a_folder(path: Path, **fields: Any) -> FolderSource:
    return FolderSource(kind="folder", path=str(path), **fields)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "README").write_text("# x\n")
    (root / "src" / "a.py").write_text("a\n")
    (root / "src" / "deep" / "b.py").write_text("b\n")
    return root


def test_the_files_of_a_folder_come_out_as_they_are(crawl: Any, project: Path) -> None:
    found = crawl(kind="folder", path=str(project))
    assert found.contents == {"README": b"# x\n", "src/a.py": b"a\n", "src/deep/b.py": b"b\n"}
    assert found.repositories[0]["repo"] == "folder/project"


def test_a_single_file_is_a_repository(crawl: Any, project: Path) -> None:
    assert crawl(kind="folder", path=str(project / "src" / "a.py")).contents == {"a.py": b"a\n"}


def test_no_link_is_followed_and_no_special_file_opened(crawl: Any, project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret\n")
    (project / "to-file").symlink_to(outside / "secret")
    (project / "to-folder").symlink_to(outside)
    (project / "loop").symlink_to(project)
    os.mkfifo(project / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "socket"))
        found = crawl(kind="folder", path=str(project))
    assert found.rules == {
        "loop": "link",
        "pipe": "special_file",
        "socket": "special_file",
        "to-file": "link",
        "to-folder": "link",
    }
    assert len(found.files) == 3


def test_the_repository_of_a_checkout_is_not_part_of_it(crawl: Any, project: Path) -> None:
    (project / ".git" / "objects").mkdir(parents=True)
    (project / ".git" / "config").write_text("[core]\n")
    found = crawl(kind="folder", path=str(project))
    assert found.rules == {".git": "git_folder"}
    assert len(found.files) == 3


def test_names_that_are_no_text_are_escaped(crawl: Any, project: Path) -> None:
    for name in (b"latin-\xe9", b"two\nlines"):
        (project / os.fsdecode(name)).write_text("x\n")
    assert {"latin-\\xe9", "two\\x0alines"} < set(crawl(kind="folder", path=str(project)).files)


def test_a_folder_that_is_too_deep_is_cut_off(crawl: Any, project: Path) -> None:
    here = os.open(project, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = crawl(kind="folder", path=str(project))
    assert [(row["rule"], row["path"].count("/")) for row in found.dropped] == [("unsafe_path", Limits().max_depth - 1)]
    assert len(found.files) == 3


def test_a_folder_over_the_limit_is_an_error(crawl: Any, project: Path) -> None:
    with pytest.raises(RepositoryTooLargeError, match="folder/project has more than 2 files"):
        crawl(Limits(max_files=2), kind="folder", path=str(project))


def test_the_revision_changes_with_the_content_and_with_nothing_else(project: Path) -> None:
    def revision() -> str | None:
        (resolved,) = resolve(a_folder(project))
        return resolved.revision  # type: ignore[union-attr]

    first = revision()
    os.utime(project / "README", (0, 0))
    (project / "README").chmod(0o600)
    assert revision() == first
    (project / "README").write_text("# y\n")
    second = revision()
    (project / "README").rename(project / "READ")
    third = revision()
    (project / "link").symlink_to("nowhere")
    assert len({first, second, third, revision()}) == 4


def test_a_folder_that_changed_since_it_was_resolved_is_not_crawled(project: Path, tmp_path: Path) -> None:
    (resolved,) = resolve(a_folder(project))
    (project / "README").write_text("# y\n")
    with pytest.raises(InputError, match="has changed since the run was planned"):
        list(repositories(resolved, Limits(), tmp_path))


def test_a_revision_that_is_given_is_kept(project: Path) -> None:
    source = a_folder(project, revision="2024-05")
    assert resolve(source) == (source,)


def test_each_folder_and_file_becomes_a_source_of_its_own(project: Path) -> None:
    for name in (".hidden", "__pycache__", "site-packages", "x-1.0.dist-info"):
        (project / name).mkdir()
    (project / "link").symlink_to("src")
    found = resolve(a_folder(project, each=True, domain="english", license="MIT"))
    assert [(source.repository, source.domain, source.license) for source in found] == [
        ("folder/README", "english", "MIT"),
        ("folder/src", "english", "MIT"),
    ]
    assert all(source.revision for source in found)  # type: ignore[union-attr]


def test_the_library_of_python_is_at_hand_without_its_path(crawl: Any) -> None:
    found = crawl(kind="folder", path="{stdlib}/json", license="PSF-2.0")
    assert {"__init__.py", "decoder.py"} < set(found.files)
    assert found.repositories[0] | {"files": 0, "bytes": 0, "revision": ""} == {
        "repo": "folder/json",
        "revision": "",
        "kind": "folder",
        "url": "{stdlib}/json",
        "license": "PSF-2.0",
        "files": 0,
        "bytes": 0,
    }
    assert "__init__.py" in crawl(kind="folder", path="{site-packages}/pydantic").files


@pytest.mark.parametrize(("path", "problem"), [("nowhere", "does not exist"), ("{home}/x", "{home} is not known")])
def test_a_folder_that_is_not_there_is_an_error(path: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        resolve(SOURCE.validate_python({"kind": "folder", "path": path}))


@pytest.mark.parametrize("closed", ["src", ""])
def test_a_folder_that_cannot_be_read_is_a_refused_entry_and_the_root_an_error(
    project: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    scandir = os.scandir

    def deny(path: bytes) -> Any:
        if os.fsdecode(path).rstrip("/") == str(project / closed):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)  # root, who may run this, reads every folder
    if not closed:
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            list(folder.entries(project, Limits()))
        return
    refused = {entry.path: entry.content for entry in folder.entries(project, Limits())}
    assert refused[b"src"] == Refusal("unreadable", "Permission denied")
    assert b"README" in refused
