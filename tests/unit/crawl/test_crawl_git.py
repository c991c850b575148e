import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from repoloom.errors import InputError
from repoloom.stages.crawl.errors import RepositoryTooLargeError, SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import GitSource

Tree = Mapping[bytes, "tuple[bytes, bytes] | Tree"]
IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


class Repository:
    """A bare repository written object by object, so that it may hold what git itself would never commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)

    def git(self, *arguments: str, given: bytes = b"") -> str:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *arguments],
            cwd=self.path,
            input=given,
            env={**os.environ, **IDENTITY},
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--literally", "--stdin", given=content)

    def tree(self, tree: Tree) -> str:
        lines = b""
        for name, node in tree.items():
            if isinstance(node, tuple):
                mode, content = node
                kind, item = (b"commit", content.decode()) if mode == b"160000" else (b"blob", self.blob(content))
            else:
                mode, kind, item = b"040000", b"tree", self.tree(node)
            lines += b"%s %s %s\t%s\0" % (mode, kind, item.encode(), name)
        return self.git("mktree", "-z", "--missing", given=lines)

    def commit(self, tree: Tree | str) -> str:
        commit = self.git("commit-tree", "-m", "x", tree if isinstance(tree, str) else self.tree(tree))
        self.git("update-ref", "HEAD", commit)
        return commit


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "given.git")


@pytest.fixture
def crawl_tree(repository: Repository, crawl: Any) -> Callable[..., Any]:
    def run(tree: Tree | str, limits: Limits | None = None) -> Any:
        repository.commit(tree)
        return crawl(limits, kind="git", path=str(repository.path))

    return run


def test_the_files_of_a_commit_come_out_as_they_are(repository: Repository, crawl: Any) -> None:
    old = repository.commit({b"a.py": (b"100644", b"old\n")})
    new = repository.commit(
        {b"a.py": (b"100644", b"new\n"), b"bin": {b"run": (b"100755", b"#!/bin/sh\n")}, b"empty": (b"100644", b"")}
    )
    found = crawl(kind="git", path=str(repository.path))
    assert found.contents == {"a.py": b"new\n", "bin/run": b"#!/bin/sh\n", "empty": b""}
    assert {row["revision"] for row in found.rows} == {new}
    assert found.repositories == [
        {
            "repo": "git/given",
            "revision": new,
            "kind": "git",
            "url": str(repository.path),
            "license": "",
            "files": 3,
            "bytes": 14,
        }
    ]
    found = crawl(kind="git", path=str(repository.path), revision=old)
    assert found.contents == {"a.py": b"old\n"}


def test_a_blob_keeps_the_name_that_git_gave_it(repository: Repository, crawl_tree: Any) -> None:
    assert crawl_tree({b"a": (b"100644", b"text\n")}).files["a"]["blob"] == repository.blob(b"text\n")


def test_links_submodules_and_pointers_are_dropped(crawl_tree: Any) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"0" * 64)
    found = crawl_tree(
        {
            b"absolute": (b"120000", b"/etc/passwd"),
            b"model.bin": (b"100644", pointer),
            b"ok": (b"100644", b"x\n"),
            b"outside": (b"120000", b"../../outside"),
            b"vendor": {b"module": (b"160000", b"1" * 40)},
        }
    )
    assert set(found.files) == {"ok"}
    assert found.rules == {
        "absolute": "link",
        "model.bin": "lfs_pointer",
        "outside": "link",
        "vendor/module": "submodule",
    }


def test_odd_modes_are_files(crawl_tree: Any) -> None:
    assert set(crawl_tree({b"group": (b"100664", b"a\n"), b"run": (b"100755", b"b\n")}).files) == {"group", "run"}


def test_names_that_git_would_never_check_out_are_dropped(repository: Repository, crawl_tree: Any) -> None:
    blob = repository.blob(b"evil\n")
    entries = [(b"..", blob), (b".", blob), (b".git", blob), (b"/etc", blob), (b"a/../b", blob), (b"ok", blob)]
    raw = b"".join(b"100644 %s\0%s" % (name, bytes.fromhex(item)) for name, item in entries)
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", given=raw)
    found = crawl_tree(tree)
    assert set(found.files) == {"ok"}
    assert set(found.rules.values()) == {"unsafe_path", "git_folder"}
    assert len(found.dropped) == 5


def test_names_that_are_no_text_are_escaped(crawl_tree: Any) -> None:
    names = [b"latin-\xe9", b"tab\there", b"two\nlines", b'"quoted"', "日本".encode(), b"--option", b"back\\slash"]
    found = crawl_tree(dict.fromkeys(sorted(names), (b"100644", b"x\n")))
    assert set(found.files) == {
        "latin-\\xe9", "tab\\x09here", "two\\x0alines", '"quoted"', "日本", "--option", "back\\x5cslash"
    }  # fmt: skip


def test_no_hook_filter_or_attribute_of_a_repository_runs(
    repository: Repository, crawl_tree: Any, tmp_path: Path
) -> None:
    pwned = tmp_path / "here" / "pwned"
    for hook in (
        "post-checkout",
        "post-update",
        "pre-receive",
        "reference-transaction",
        "post-merge",
        "fsmonitor-watchman",
    ):
        script = repository.path / "hooks" / hook
        script.write_text(f"#!/bin/sh\ntouch {pwned}\n")
        script.chmod(0o755)
    for key in ("core.fsmonitor", "core.sshCommand", "filter.evil.smudge", "uploadpack.packObjectsHook", "core.pager"):
        repository.git("config", key, f"touch {pwned}")
    found = crawl_tree(
        {
            b".gitattributes": (b"100644", b"* filter=evil\n"),
            b".gitmodules": (
                b"100644",
                f'[submodule "x"]\n path=x\n url=ext::touch {pwned}\n update=!touch {pwned}\n'.encode(),
            ),
            b"a": (b"100644", b"x\n"),
        }
    )
    assert found.contents["a"] == b"x\n"
    assert not pwned.exists()


def test_hooks_of_the_user_do_not_run_either(crawl_tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    hook = home / "hooks" / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {home}/pwned\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(f"[core]\n hooksPath = {home}/hooks\n[init]\n templateDir = {home}\n")
    monkeypatch.setenv("HOME", str(home))
    # The test's own commits would run the hook: it is given a repository that is there already.
    monkeypatch.setitem(IDENTITY, "GIT_CONFIG_GLOBAL", os.devnull)
    assert crawl_tree({b"a": (b"100644", b"x\n")}).contents == {"a": b"x\n"}
    assert not (home / "pwned").exists()


def test_the_environment_of_a_surrounding_git_has_no_say(
    crawl_tree: Any, repository: Repository, tmp_path: Path, crawl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl_tree({b"a": (b"100644", b"x\n")})
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert crawl(kind="git", path=str(repository.path)).contents == {"a": b"x\n"}


def test_a_tree_that_grows_without_end_is_stopped(repository: Repository, crawl_tree: Any) -> None:
    tree = repository.tree({b"%d" % i: (b"100644", b"boom\n") for i in range(10)})
    for _ in range(9):
        lines = b"".join(b"040000 tree %s\t%d\0" % (tree.encode(), i) for i in range(10))
        tree = repository.git("mktree", "-z", given=lines)
    with pytest.raises(RepositoryTooLargeError, match="max_files"):
        crawl_tree(tree, Limits(max_files=2000))


def test_a_file_over_the_limit_is_dropped_unread(crawl_tree: Any) -> None:
    found = crawl_tree({b"big": (b"100644", bytes(4 << 20)), b"small": (b"100644", b"x\n")})
    assert [(row["path"], row["rule"], row["size"]) for row in found.dropped] == [("big", "max_file_bytes", 4 << 20)]
    assert set(found.files) == {"small"}


def test_a_pack_over_the_limit_is_an_error_that_names_the_limit(crawl_tree: Any) -> None:
    with pytest.raises(RepositoryTooLargeError, match="max_repository_bytes"):
        crawl_tree({b"big": (b"100644", os.urandom(200_000))}, Limits(max_repository_bytes=50_000))


def test_a_commit_without_files_is_a_repository_without_files(repository: Repository, crawl_tree: Any) -> None:
    found = crawl_tree(repository.git("mktree"))
    assert not found.rows
    assert found.repositories[0]["files"] == 0


def test_a_repository_without_commits_cannot_be_crawled(repository: Repository, crawl: Any) -> None:
    with pytest.raises(SourceUnavailableError, match=r"git .*given\.git HEAD: couldn't find remote ref HEAD"):
        crawl(kind="git", path=str(repository.path))


def test_a_missing_object_is_an_error(repository: Repository, crawl: Any) -> None:
    repository.commit({b"a": (b"100644", b"some text\n")})
    blob = repository.blob(b"some text\n")
    (repository.path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises((SourceUnavailableError, UnreadableSourceError)):
        crawl(kind="git", path=str(repository.path))


def test_tens_of_thousands_of_tiny_files_are_taken(repository: Repository, crawl: Any) -> None:
    stream = b"commit refs/heads/main\ncommitter a <a> 1700000000 +0000\ndata 1\nx\n"
    stream += b"".join(b"M 100644 inline d%d/f%d\ndata %d\n%d\n" % (i % 50, i, len(str(i)), i) for i in range(20_000))
    repository.git("fast-import", "--quiet", given=stream)
    assert len(crawl(kind="git", path=str(repository.path), revision="main").files) == 20_000


def test_a_folder_that_is_no_repository_is_an_error(crawl: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no git repository"):
        crawl(kind="git", path=str(tmp_path))
    with pytest.raises(InputError, match="does not exist"):
        crawl(kind="git", path=str(tmp_path / "nowhere"))


def test_a_url_is_never_read_as_a_local_path(
    crawl: Any, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({b"a": (b"100644", b"x\n")})
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "file://{repository.path}"]\n insteadOf = https://host.invalid/x\n')
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "git").mkdir()
    config.rename(tmp_path / "git" / "config")
    with pytest.raises(SourceUnavailableError, match="transport 'file' not allowed"):
        crawl(kind="git", url="https://host.invalid/x")


def test_a_host_that_refuses_is_an_error_that_names_the_source(crawl: Any) -> None:
    with pytest.raises(SourceUnavailableError, match=r"^git http://127\.0\.0\.1:9/x HEAD: unable to access"):
        crawl(kind="git", url="http://127.0.0.1:9/x")


def test_a_local_repository_is_pinned_to_its_commit(repository: Repository) -> None:
    old = repository.commit({b"a": (b"100644", b"x\n")})
    repository.git("tag", "v1", old)
    new = repository.commit({b"a": (b"100644", b"y\n")})
    pinned = {}
    for revision in ("HEAD", "v1", old, "nothing"):
        (source,) = resolve(GitSource(kind="git", path=str(repository.path), revision=revision))
        assert isinstance(source, GitSource)
        pinned[revision] = source.revision
    assert pinned == {"HEAD": new, "v1": old, old: old, "nothing": "nothing"}
