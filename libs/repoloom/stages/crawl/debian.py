"""A Debian source package through apt, which verifies it: the project as released, and Debian's packaging.

apt's signed indexes are kept in the user's cache folder, apart from the machine's own, so that no root is needed.
"""

import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from repoloom import programs
from repoloom.stages.crawl import archive
from repoloom.stages.crawl.client import Client, Job
from repoloom.stages.crawl.entry import Entry
from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError
from repoloom.stages.crawl.gateway import Gateway, gateway
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.policy import Policy, host_name
from repoloom.stages.crawl.proxies import Proxies
from repoloom.stages.crawl.sources import DebianSource

_APT_GET = Client("apt-get", "apt is part of Debian and Ubuntu: crawl Debian packages there")
_APT_CONFIG = Client("apt-config", _APT_GET.install)
_INDEX_BYTES = 1 << 30  # an index is tens of MiB
_CONFIG_SECONDS = 20.0
_FRESH_SECONDS = 3600.0  # for which fetched indexes serve
_RETRY_SECONDS = 60.0  # after which indexes that could not be had are asked for again
_ONE_LINE = re.compile(r"^\s*deb(?:-src)?\s", re.MULTILINE)  # sources.list(5), one-line style
_TYPES = re.compile(r"^Types:.*$", re.MULTILINE | re.IGNORECASE)  # and deb822 style
_HOST = re.compile(r"://(?:[^/@\s]*@)?([^/:\s\[\]]+|\[[^\]\s]+\])")  # of an address in either
_SHELL = re.compile(r"^([A-Z]+)='(.*)'$", re.MULTILINE)  # what apt-config says
SourceLists: TypeAlias = tuple[tuple[str, str], ...]
"""Names and texts of source lists."""

Problem: TypeAlias = SourceUnavailableError | NotAllowedError
_UPDATES: dict[tuple[Path, SourceLists, float, Policy], tuple[float, Problem | None]] = {}
"""How fetching indexes ended, and until what time.monotonic() that holds."""

_PART = re.compile(r"(?P<native>\.tar)|\.orig(-(?P<component>[A-Za-z0-9-]+))?\.tar|(?P<packaging>\.debian\.tar)")
"""The archives of a source package (dsc(5)): a native one, or upstream's with its components and Debian's packaging."""


def download(source: DebianSource, limits: Limits, scratch: Path) -> list[Path]:
    """The archives of a source package, Debian's packaging first.

    Raises SourceUnavailableError, RepositoryTooLargeError and NotAllowedError.
    """
    folder = scratch / "debian"
    folder.mkdir()
    with _indexes(str(source), limits) as apt:
        job = Job(str(source), folder, _environment(), limits.timeout, limits.max_repository_bytes)
        apt.get(job, "source", "--download-only", f"{source.name}={source.version}")
    found = sorted(path for path in folder.iterdir() if _PART.search(path.name) and not path.name.endswith(".asc"))
    if not found:
        raise SourceUnavailableError(f"{source}: apt-get gave no archive")
    return sorted(found, key=lambda path: ".debian.tar" not in path.name)


def entries(archives: list[Path], scratch: Path, budget: Budget) -> Iterator[Entry]:
    """The files as dpkg-source lays them out, before any patch; Debian's packaging wins over the authors' own.

    Packaging that comes as a diff (format 1.0) is a patch, and left out.
    """
    for path in archives:
        part = _PART.search(path.name)
        assert part is not None
        under = "debian" if part["packaging"] else part["component"]
        yield from archive.entries(path, scratch, budget, under=f"{under}/".encode() if under else b"")


@dataclass(frozen=True)
class _Apt:
    """apt-get, pointed at the source indexes in a folder and led through a gateway."""

    folder: Path
    way: Gateway

    def get(self, job: Job, *arguments: str) -> None:
        environment = {**job.environment, **self.way.environment}  # apt heeds no_proxy, whatever its options say
        _APT_GET.run(replace(job, environment=environment), "-qq", *_options(self.folder, self.way), *arguments)


@contextmanager
def _indexes(subject: str, limits: Limits) -> Iterator[_Apt]:
    """Points apt at the source indexes, which nobody changes meanwhile."""
    sources, policy = _configured_sources(subject), Policy.here()
    folder = _cache_folder(subject, sources)
    if problem := _updated(folder, sources, limits.timeout, policy):
        raise type(problem)(f"{subject}: {problem}")
    with (folder / "lock").open() as lock, _gateway(subject, sources, policy) as way:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield _Apt(folder, way)


def _updated(folder: Path, sources: SourceLists, timeout: float, policy: Policy) -> Problem | None:
    """What keeps the source indexes from being fetched, if anything; asked anew when the answer is old."""
    asked = (folder, sources, timeout, policy)
    until, problem = _UPDATES.get(asked, (0.0, None))
    if time.monotonic() >= until:
        problem = _update(*asked)
        _UPDATES[asked] = time.monotonic() + (_RETRY_SECONDS if problem else _FRESH_SECONDS), problem
    return problem


def _update(folder: Path, sources: SourceLists, timeout: float, policy: Policy) -> Problem | None:
    """Fetches the source indexes; where another process just did, that costs one request each.

    What keeps them from being fetched is returned, not raised: so it is remembered, and no other source waits for it.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in sources:
            (folder / name).write_text(text)
        job = Job("the source indexes", folder, _environment(), timeout, _INDEX_BYTES)
        try:
            with _gateway("the source indexes", sources, policy) as way:
                _Apt(folder, way).get(job, "--error-on=any", "update")
        except (SourceUnavailableError, NotAllowedError) as error:
            return error
    return None


@contextmanager
def _gateway(subject: str, sources: SourceLists, policy: Policy) -> Iterator[Gateway]:
    """A gateway that trusts the archives that apt is set up for."""
    lines = (line for _, text in sources for line in text.splitlines() if not line.lstrip().startswith("#"))
    archives = frozenset(host_name(host.strip("[]")) for line in lines for host in _HOST.findall(line))
    job = Job(subject, Path("/"), _environment(), _CONFIG_SECONDS, _INDEX_BYTES)
    names = ("HTTP", "Acquire::http::Proxy", "HTTPS", "Acquire::https::Proxy")
    said = dict(_SHELL.findall(_APT_CONFIG.run(job, "shell", *names).decode()))
    http = said.get("HTTP")
    with gateway(subject, policy, archives, Proxies.configured(http, said.get("HTTPS", http))) as way:
        yield way


def _options(folder: Path, way: Gateway) -> list[str]:
    settings = {
        "APT::Sandbox::User": "root",  # as root: the user _apt may not enter a private folder; otherwise without effect
        "APT::Get::Only-Source": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Pipeline-Depth": "0",
        "Acquire::http::Proxy": way.url,
        "Acquire::http::Proxy-Auto-Detect": "",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Proxy": way.url,
        "Acquire::https::Proxy-Auto-Detect": "",
        "Acquire::https::Timeout": "20",
        "Dir::Cache": str(folder / "cache"),
        "Dir::State": str(folder / "state"),
        "Dir::Etc::SourceList": str(folder / "sources.list"),
        "Dir::Etc::SourceParts": str(folder / "sources.list.d"),
    }
    return [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]


def _cache_folder(subject: str, sources: SourceLists) -> Path:
    """A folder that belongs to these source lists."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    folder = root / "repoloom" / "apt" / hashlib.sha256(repr(sources).encode()).hexdigest()[:16]
    try:
        if not root.is_absolute():
            raise NotADirectoryError(errno.ENOTDIR, "this user has no home")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME"
        raise SourceUnavailableError(f"{subject}: {problem}") from error
    return folder


def _configured_sources(subject: str) -> SourceLists:
    """What apt is set up for here, `deb` turned into `deb-src`; each list by its name in a private folder."""
    job = Job(subject, Path("/"), _environment(), _CONFIG_SECONDS, _INDEX_BYTES)
    said = _APT_CONFIG.run(job, "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d").decode()
    places = dict(_SHELL.findall(said))
    main, parts = Path(places["LIST"]), Path(places["PARTS"])
    lists = [(path, "sources.list") for path in [main] if path.is_file()]
    lists += [(path, f"sources.list.d/{path.name}") for path in sorted(parts.glob("*.list"))]
    newer = [(path, f"sources.list.d/{path.name}") for path in sorted(parts.glob("*.sources"))]
    return (
        *((name, _ONE_LINE.sub("deb-src ", path.read_text())) for path, name in lists),
        *((name, _TYPES.sub("Types: deb-src", path.read_text())) for path, name in newer),
    )


def _environment() -> dict[str, str]:
    return {**programs.environment("APT_CONFIG"), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
