import contextlib
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl import debian
from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError
from repoloom.stages.crawl.policy import SETTING

COPYRIGHT = b"Files: *\nCopyright: x\nLicense: Expat or GPL-2+\n"


@pytest.fixture
def archive(
    tmp_path: Path, pack: Callable[..., bytes], serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """A Debian archive with one source package, and apt set up for its binary packages only.

    The argument goes into the line of sources.list, in brackets.
    """
    root = tmp_path / "archive"
    (root / "pool").mkdir(parents=True)
    parts = {
        "thing_1.0.orig.tar.gz": {"thing-1.0/a.c": b"int a;\n", "thing-1.0/debian/control": b"upstream's own\n"},
        "thing_1.0.orig-extra.tar.gz": {"whatever/b.c": b"int b;\n"},
        "thing_1.0-1.debian.tar.gz": {"debian/control": b"Debian's\n", "debian/copyright": COPYRIGHT},
    }
    dsc = root / "pool" / "thing_1.0-1.dsc"
    dsc.write_text("Format: 3.0 (quilt)\nSource: thing\nVersion: 2:1.0-1\n")
    for name, files in parts.items():
        (root / "pool" / name).write_bytes(pack(files))
    paths = [dsc, *(root / "pool" / name for name in parts)]
    lines = "".join(
        f"\n {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}" for path in paths
    )
    index = root / "dists" / "stable" / "main" / "source"
    index.mkdir(parents=True)
    (index / "Sources").write_text(
        "Package: thing\nBinary: thing\nVersion: 2:1.0-1\nFormat: 3.0 (quilt)\nDirectory: pool\n"
        f"Checksums-Sha256:{lines}\n\n"
    )
    content = (index / "Sources").read_bytes()
    (root / "dists" / "stable" / "Release").write_text(
        "Origin: Test\nSuite: stable\nCodename: stable\nComponents: main\nArchitectures: amd64 source\n"
        "Date: Thu, 01 Jan 2015 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(content).hexdigest()} {len(content)} main/source/Sources\n"
    )
    address = serve(root)
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{tmp_path}/sources.list.d";\n'
    )
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setenv("APT_CONFIG", str(settings))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    debian._UPDATES.clear()

    def point(options: str) -> None:
        (tmp_path / "sources.list").write_text(f"# deb is for binary packages\ndeb {options} {address} stable main\n")

    return point


def test_a_source_package_is_upstream_with_its_components_and_packaging(
    archive: Callable[[str], None], crawl: Any
) -> None:
    archive("[trusted=yes]")
    found = crawl(kind="debian", name="thing", version="2:1.0-1")
    files = {row["path"]: row["content"] for row in found.table("files").to_pylist()}
    assert files == {
        "a.c": b"int a;\n",
        "debian/control": b"Debian's\n",
        "debian/copyright": COPYRIGHT,
        "extra/b.c": b"int b;\n",
    }
    dropped = found.table("dropped").to_pylist()
    assert [(row["path"], row["rule"]) for row in dropped] == [("debian/control", "duplicate_path")]
    (repository,) = found.table("repositories").to_pylist()
    assert repository["license"] == "MIT OR GPL-2.0-or-later"
    assert repository["url"] == "pkg:deb/debian/thing@2:1.0-1?arch=source"


def test_sources_in_the_newer_style_serve_as_well(archive: Callable[[str], None], crawl: Any, tmp_path: Path) -> None:
    archive("[trusted=yes]")
    line = (tmp_path / "sources.list").read_text().split()
    (tmp_path / "sources.list").write_text("")
    (tmp_path / "sources.list.d" / "x.sources").write_text(
        f"Types: deb\nURIs: {line[-3]}\nSuites: stable\nComponents: main\nTrusted: yes\n"
    )
    assert crawl(kind="debian", name="thing", version="2:1.0-1").table("files").num_rows == 4


def test_an_archive_that_nobody_signed_is_refused(archive: Callable[[str], None], crawl: Any) -> None:
    archive("")
    with pytest.raises(SourceUnavailableError, match="not signed"):
        crawl(kind="debian", name="thing", version="2:1.0-1")


def test_an_archive_file_that_was_changed_is_refused(
    archive: Callable[[str], None], crawl: Any, tmp_path: Path
) -> None:
    archive("[trusted=yes]")
    changed = tmp_path / "archive" / "pool" / "thing_1.0.orig.tar.gz"
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    with pytest.raises(SourceUnavailableError, match="Hash Sum mismatch"):
        crawl(kind="debian", name="thing", version="2:1.0-1")


def test_a_version_that_is_not_there_is_unavailable(archive: Callable[[str], None], crawl: Any) -> None:
    archive("[trusted=yes]")
    with pytest.raises(SourceUnavailableError, match=r"debian thing 9: Can not find version '9'"):
        crawl(kind="debian", name="thing", version="9")
    with pytest.raises(SourceUnavailableError, match="debian other 1: "):
        crawl(kind="debian", name="other", version="1")


def test_the_machine_s_own_lists_are_left_alone(archive: Callable[[str], None], crawl: Any, tmp_path: Path) -> None:
    archive("[trusted=yes]")
    before = (tmp_path / "sources.list").read_text()
    lists = subprocess.run(["ls", "-lR", "/var/lib/apt/lists"], capture_output=True).stdout
    crawl(kind="debian", name="thing", version="2:1.0-1")
    assert (tmp_path / "sources.list").read_text() == before
    assert subprocess.run(["ls", "-lR", "/var/lib/apt/lists"], capture_output=True).stdout == lists


def test_a_cache_that_cannot_be_written_is_named(
    archive: Callable[[str], None], crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive("[trusted=yes]")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(SourceUnavailableError, match="set XDG_CACHE_HOME"):
        crawl(kind="debian", name="thing", version="2:1.0-1")


def test_indexes_that_cannot_be_had_are_asked_for_once(
    archive: Callable[[str], None], crawl: Any, tmp_path: Path
) -> None:
    archive("[trusted=yes]")
    indexes = tmp_path / "archive" / "dists"
    away = indexes.rename(tmp_path / "archive" / "away")
    with pytest.raises(SourceUnavailableError) as first:
        crawl(kind="debian", name="thing", version="2:1.0-1")
    away.rename(indexes)
    with pytest.raises(SourceUnavailableError) as second:
        crawl(kind="debian", name="other", version="1")
    assert str(second.value).removeprefix("debian other 1") == str(first.value).removeprefix("debian thing 2:1.0-1")


def test_indexes_that_could_not_be_had_are_asked_for_again_later(
    archive: Callable[[str], None], crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_RETRY_SECONDS", 0.0)
    archive("[trusted=yes]")
    indexes = tmp_path / "archive" / "dists"
    away = indexes.rename(tmp_path / "archive" / "away")
    with pytest.raises(SourceUnavailableError):
        crawl(kind="debian", name="thing", version="2:1.0-1")
    away.rename(indexes)
    assert crawl(kind="debian", name="thing", version="2:1.0-1").table("files").num_rows == 4


@pytest.mark.parametrize("old", [False, True])
def test_indexes_are_fetched_again_when_they_are_old(
    archive: Callable[[str], None], crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    archive("[trusted=yes]")
    if old:
        monkeypatch.setattr(debian, "_FRESH_SECONDS", 0.0)
    crawl(kind="debian", name="thing", version="2:1.0-1")
    (tmp_path / "archive" / "dists").rename(tmp_path / "archive" / "away")
    with pytest.raises(SourceUnavailableError) if old else contextlib.nullcontext():
        crawl(kind="debian", name="thing", version="2:1.0-1")


def test_an_archive_may_be_private_and_leads_to_no_other_private_host(
    archive: Callable[[str], None], site: Any, crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "")
    monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
    archive("[trusted=yes]")
    assert crawl(kind="debian", name="thing", version="2:1.0-1").table("files").num_rows == 4
    victim, private = site(tmp_path / "archive", "127.0.0.2"), site(tmp_path / "archive")
    (tmp_path / "sources.list").write_text(f"# deb {victim.url} x\ndeb [trusted=yes] {private.url} stable main\n")
    private.redirects["/pool"] = f"{victim.url}/pool"
    with pytest.raises(NotAllowedError, match=r"^debian thing 2:1\.0-1: 127\.0\.0\.2 is a loopback address"):
        crawl(kind="debian", name="thing", version="2:1.0-1")
    debian._UPDATES.clear()
    private.redirects["/dists"] = f"{victim.url}/dists"
    with pytest.raises(NotAllowedError, match=r"^debian thing 2:1\.0-1: .*127\.0\.0\.2 is a loopback address"):
        crawl(kind="debian", name="thing", version="2:1.0-1")
    assert victim.seen == []
