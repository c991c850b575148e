"""One revision of a git repository, read from its object database: nothing is checked out, so nothing of it can act.

No hook, filter, attribute, submodule or LFS program runs: those belong to a work tree, and there is none.
"""

import contextlib
import functools
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.parse import urlsplit

from repoloom import programs
from repoloom.errors import InputError
from repoloom.stages.crawl.client import Client, Job
from repoloom.stages.crawl.entry import Entry, Refusal, Repository
from repoloom.stages.crawl.errors import (
    NotAllowedError,
    OverdueError,
    SourceUnavailableError,
    UnreadableSourceError,
)
from repoloom.stages.crawl.folder import local_path
from repoloom.stages.crawl.gateway import gateway
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.policy import Policy, host_name
from repoloom.stages.crawl.proxies import Proxies
from repoloom.stages.crawl.scratch import scratch_folder
from repoloom.stages.crawl.sources import GIT_SCHEMES, GitSource

_GIT = Client("git", "apt-get install git")
_CONTACT_SECONDS = 20.0  # for a host to answer at all
_PIN_SECONDS = 3.0  # for a host to say what a name stands for, while somebody waits for a recipe to be read
_SILENT_SECONDS = 60.0  # for which a host that did not answer is not asked again
_MAX_MEMORY = 4 << 30  # address space, bytes: a pack's deltas may ask for more than the files they make
_CHUNK = 1 << 16
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TREE_LINE = re.compile(rb"([0-7]+) (\w+) ([0-9a-f]+) +(\d+|-)\t(.*)", re.DOTALL)
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "credential.interactive": "never",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1000",  # bytes a second, for
    "http.lowSpeedTime": "30",  # seconds, before a stalled transfer ends
    "transfer.bundleURI": "false",
}

_REF_RULES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
"""What a short name may stand for, in git's order (gitrevisions(7))."""

_SILENT: dict[str, float] = {}
"""Hosts that let `pinned` wait in vain; they are not asked again until that time.monotonic(): a recipe may have many
sources of one."""


def is_pinned(source: GitSource) -> bool:
    """Whether the revision is a commit already."""
    return _COMMIT.fullmatch(source.revision) is not None


def pinned(source: GitSource) -> GitSource:
    """The source with the commit that its revision names now.

    It stays as it is where that is a commit already, or where the repository cannot be asked: the crawl says why.
    """
    if is_pinned(source):
        return source
    address, host = _address(source), urlsplit(source.url or "").netloc
    if time.monotonic() < _SILENT.get(host, 0.0):
        return source
    with scratch_folder() as scratch:
        try:
            with _open(source, Limits(timeout=_PIN_SECONDS), scratch) as git:
                said = git.run("ls-remote", "--quiet", "--", address, source.revision, f"{source.revision}^{{}}")
        except (SourceUnavailableError, NotAllowedError) as error:
            if isinstance(error, OverdueError):
                _SILENT[host] = time.monotonic() + _SILENT_SECONDS
            return source
    commits = {
        name: commit
        for commit, _, name in (line.partition("\t") for line in said.decode("utf-8", "replace").splitlines())
    }
    for rule in _REF_RULES:
        name = rule.format(source.revision)
        if commit := commits.get(f"{name}^{{}}") or commits.get(name):  # an annotated tag is followed to its commit
            return source.model_copy(update={"revision": commit})
    return source


def repository(source: GitSource, limits: Limits, scratch: Path) -> Repository:
    """Fetches one revision, without its history.

    Raises SourceUnavailableError, NotAllowedError and RepositoryTooLargeError.
    """
    address = _address(source)
    with _open(source, limits, scratch) as git:
        if source.url:
            git.run("ls-remote", "--quiet", "--", address, "HEAD", timeout=_CONTACT_SECONDS)
        git.run("init", "--quiet", "--bare", "--template=", ".")
        git.run("fetch", "--quiet", "--depth=1", "--no-tags", "--", address, f"+{source.revision}:refs/crawl/head")
    commit = git.run("rev-parse", "--verify", "--end-of-options", "refs/crawl/head^{commit}").decode().strip()
    _check_files(git, commit, Budget(source.repository, limits))
    return Repository(source.repository, commit, source.kind, _public(source), _entries(git, commit))


def local_repository(path: str) -> Path:
    """The path of a git repository of this machine, be it bare or checked out. Raises InputError."""
    found = local_path(path)
    if found.is_dir() and not (found / ".git").exists() and not (found / "HEAD").is_file():
        raise InputError(f"{path!r} is no git repository; a source of kind `folder` reads any folder")
    return found


def _address(source: GitSource) -> str:
    return source.url or str(local_repository(source.path or "").resolve())


@contextlib.contextmanager
def _open(source: GitSource, limits: Limits, scratch: Path) -> Iterator["_Git"]:
    """The git client for a source: by way of a gateway for the length of the block, without any network afterwards."""
    folder, policy = scratch / "git", Policy.here()
    folder.mkdir()
    if source.url is None:
        yield _Git(source, folder, limits, schemes=("file",))
        return
    own = _Git(source, folder, limits, schemes=())
    address = own.run("ls-remote", "--get-url", source.url).decode().strip()
    rewritten = {host_name(urlsplit(address).hostname or "")} if address != source.url else set()  # by url.*.insteadOf
    trusted = policy.trusted(urlsplit(source.url).hostname) | rewritten
    proxy = own.proxy(address) if address.startswith(("http://", "https://")) else None
    with gateway(str(source), policy, trusted, Proxies.configured(proxy, proxy)) as way:
        settings = {"http.proxy": way.url, f"http.{address}.proxy": way.url, "http.proxyAuthMethod": "basic"}
        yield _Git(source, folder, limits, _schemes(policy), settings, way.environment)


def _schemes(policy: Policy) -> tuple[str, ...]:
    """The transports that may be taken, whatever a redirect or the user's configuration makes of an address."""
    unwatched = {"ssh": "ssh", "git": "git-protocol"}
    return tuple(scheme for scheme in GIT_SCHEMES if scheme not in unwatched or unwatched[scheme] in policy.words)


def _public(source: GitSource) -> str:
    if source.url is None:
        return source.path or ""
    return urlsplit(source.url)._replace(netloc=source.url.split("/")[2].rpartition("@")[2]).geturl()


class _Git:
    """The git client at work in one bare repository."""

    def __init__(
        self,
        source: GitSource,
        folder: Path,
        limits: Limits,
        schemes: tuple[str, ...],
        settings: Mapping[str, str] = MappingProxyType({}),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        environment = {**_environment(schemes, folder, {**_SETTINGS, **settings}), **variables}
        self.job = Job(str(source), folder, environment, limits.timeout, limits.max_repository_bytes, _MAX_MEMORY)

    def run(self, *arguments: str, timeout: float | None = None) -> bytes:
        return _GIT.run(replace(self.job, timeout=timeout or self.job.timeout), *arguments)

    def proxy(self, address: str) -> str | None:
        """The proxy that git is set up for on the way to an address."""
        said = self.run("config", "--get-urlmatch", "http", address).decode("utf-8", "replace")
        return next((line.split(" ", 1)[1] for line in said.splitlines() if line.startswith("http.proxy ")), None)

    def start(self, *arguments: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        return _GIT.start(self.job, *arguments)


def _environment(schemes: tuple[str, ...], folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The user's environment, without what a surrounding git says in it, and closed to what a repository might try."""
    keys = {f"GIT_CONFIG_KEY_{i}": key for i, key in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{i}": value for i, value in enumerate(settings.values())}
    return {
        **programs.environment("GIT_SSL_*", "SSH_AUTH_SOCK"),
        **keys,
        **values,
        "GIT_ALLOW_PROTOCOL": ":".join(schemes),
        "GIT_ASKPASS": "false",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_SSH_COMMAND": f"ssh -oBatchMode=yes -oConnectTimeout={_CONTACT_SECONDS:.0f}",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }


def _check_files(git: _Git, commit: str, budget: Budget) -> None:
    """Counts the files before any is read, which takes half a second for a million. Raises RepositoryTooLargeError."""
    files = 0
    with git.start("ls-tree", "-r", "-z", "--full-tree", "--name-only", commit) as tree:
        assert tree.stdout is not None
        while chunk := tree.stdout.read(_CHUNK):
            files += chunk.count(b"\0")
            budget.check_files(files)


def _entries(git: _Git, commit: str) -> Iterator[Entry]:
    with (
        git.start("cat-file", "--batch") as blobs,
        git.start("ls-tree", "-r", "-l", "-z", "--full-tree", commit) as tree,
    ):
        assert tree.stdout is not None
        for line in _records(tree.stdout):
            found = _TREE_LINE.fullmatch(line)
            if found is None:
                raise UnreadableSourceError(
                    f"{git.job.subject}: its tree holds an object of the wrong kind, or one that is missing"
                )
            mode, kind, blob, size, path = found.groups()
            if kind == b"commit":
                yield Entry(path, 0, Refusal("submodule", f"commit {blob.decode()}"))
            elif mode == b"120000":
                yield Entry(path, int(size), Refusal("link"))
            else:
                yield Entry(path, int(size), functools.partial(_read_blob, blobs, blob, git.job.subject))


def _records(output: IO[bytes]) -> Iterator[bytes]:
    """What stands between the NULs of a program's output."""
    rest = b""
    while chunk := output.read(_CHUNK):
        *records, rest = (rest + chunk).split(b"\0")
        yield from records


def _read_blob(blobs: "subprocess.Popen[bytes]", blob: bytes, subject: str) -> bytes:
    assert blobs.stdin is not None
    assert blobs.stdout is not None
    try:
        blobs.stdin.write(blob + b"\n")
        blobs.stdin.flush()
    except BrokenPipeError as error:
        raise SourceUnavailableError(f"{subject}: git ended before its files were read") from error
    header = blobs.stdout.readline().split()
    if len(header) != 3 or header[1] != b"blob":  # "<id> missing" where the repository is damaged
        raise UnreadableSourceError(f"{subject}: object {blob.decode()} is missing or damaged")
    content = blobs.stdout.read(int(header[2]))
    blobs.stdout.read(1)  # the newline after it
    return content
