import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repoloom.stages.crawl import git
from repoloom.stages.crawl.errors import SourceUnavailableError
from repoloom.stages.crawl.git import pinned
from repoloom.stages.crawl.sources import GitSource


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a real git server with one repository of two commits, the first of them tagged."""
    work = tmp_path / "served" / "project"
    work.mkdir(parents=True)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=work, check=True, capture_output=True)

    git("init", "-b", "main")
    (work / "a.py").write_text("old\n")
    git("add", ".")
    git("commit", "-m", "one")
    git("tag", "-a", "-m", "x", "v1.0")
    (work / "a.py").write_text("new\n")
    git("commit", "-am", "two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listen = [f"--base-path={work.parent}", "--listen=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(
        ["git", "daemon", "--export-all", "--verbose", *listen], stderr=subprocess.PIPE, start_new_session=True
    )
    assert server.stderr is not None
    assert b"Ready" in server.stderr.readline()
    yield f"git://127.0.0.1:{port}/project"
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stderr.close()


def test_a_revision_of_a_served_repository_is_read(address: str, crawl: Any) -> None:
    head = crawl(kind="git", url=address)
    assert head.table("files")["content"].to_pylist() == [b"new\n"]
    assert head.table("repositories")["repo"].to_pylist() == ["git/127.0.0.1/project"]
    assert crawl(kind="git", url=address, revision="v1.0").table("files")["content"].to_pylist() == [b"old\n"]
    commit = head.table("repositories")["revision"][0].as_py()
    assert crawl(kind="git", url=address, revision=commit).table("files")["content"].to_pylist() == [b"new\n"]


def test_what_a_server_does_not_have_is_unavailable(address: str, crawl: Any) -> None:
    with pytest.raises(SourceUnavailableError, match="couldn't find remote ref v9"):
        crawl(kind="git", url=address, revision="v9")
    with pytest.raises(SourceUnavailableError, match="access denied or repository not exported"):
        crawl(kind="git", url=f"{address}-nothing")


def test_a_branch_a_tag_and_head_are_pinned_to_their_commits(address: str, crawl: Any) -> None:
    def commit(revision: str) -> str:
        return pinned(GitSource(kind="git", url=address, revision=revision)).revision

    assert re.fullmatch("[0-9a-f]{40}", commit("HEAD"))
    assert commit("HEAD") == commit("main") == commit("refs/heads/main") == commit(commit("HEAD"))
    assert commit("v1.0") != commit("main")
    assert crawl(kind="git", url=address, revision=commit("v1.0")).table("files")["content"].to_pylist() == [b"old\n"]
    assert commit("v9") == "v9"  # the crawl says that there is none


@pytest.mark.parametrize(("seconds", "asked"), [(600.0, 1), (0.0, 2)], ids=["at once", "later"])
def test_a_host_that_never_answers_is_asked_again_only_later(
    monkeypatch: pytest.MonkeyPatch, seconds: float, asked: int
) -> None:
    monkeypatch.setattr(git, "_PIN_SECONDS", 0.3)
    monkeypatch.setattr(git, "_SILENT_SECONDS", seconds)
    monkeypatch.setattr(git, "_SILENT", {})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}"
        for name in ("one", "two"):
            source = GitSource(kind="git", url=f"{url}/{name}")
            assert pinned(source) == source
        silent.settimeout(0)
        for _ in range(asked):
            silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
