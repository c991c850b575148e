"""A Debian source package through apt, which verifies it: the project as its authors released it, and Debian's packaging.

apt's signed indexes are kept in the user's cache folder, apart from the machine's own, so that no root is needed.
"""

import fcntl
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repoloom.stages.crawl import archive
from repoloom.stages.crawl.client import Client
from repoloom.stages.crawl.entry import Entry
from repoloom.stages.crawl.errors import SourceUnavailableError
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.sources import DebianSource

_APT_GET = Client("apt-get", "apt is part of Debian and Ubuntu: crawl Debian packages there")
_APT_CONFIG = Client("apt-config", _APT_GET.install)
_INDEX_BYTES = 1 << 30  # an index is tens of MiB
_ONE_LINE = re.compile(r"^\s*deb(?:-src)?\s", re.MULTILINE)  # sources.list(5), one-line style
_DEB822_TYPES = re.compile(r"^Types:.*$", re.MULTILINE | re.IGNORECASE)  # and deb822 style
_PART = re.compile(r"(?P<native>\.tar)|\.orig(-(?P<component>[A-Za-z0-9-]+))?\.tar|(?P<packaging>\.debian\.tar)")
"""The archives of a source package (dsc(5)): a native one, or upstream's with its components and Debian's packaging."""


def download(source: DebianSource, limits: Limits, scratch: Path) -> list[Path]:
    """The archives of a source package, Debian's packaging first. Raises SourceUnavailableError and RepositoryTooLargeError."""
    folder = scratch / "debian"
    folder.mkdir()
    with _indexes(str(source), limits) as options:
        arguments = [*options, "source", "--download-only", "--only-source", f"{source.name}={source.version}"]
        _apt_get(arguments, str(source), folder, limits.timeout, limits.max_repository_bytes)
    found = sorted(path for path in folder.iterdir() if _PART.search(path.name) and not path.name.endswith(".asc"))
    if not found:
        raise SourceUnavailableError(f"{source}: apt-get gave no archive")
    return sorted(found, key=lambda path: ".debian.tar" not in path.name)


def entries(archives: list[Path], scratch: Path, budget: Budget) -> Iterator[Entry]:
    """The files of a source package as dpkg-source would lay them out, before any patch; packaging wins over upstream's own."""
    for path in archives:
        part = _PART.search(path.name)
        assert part is not None
        under = "debian" if part["packaging"] else part["component"]
        yield from archive.entries(path, scratch, budget, under=f"{under}/".encode() if under else b"")


@contextmanager
def _indexes(subject: str, limits: Limits) -> Iterator[list[str]]:
    """The options that point apt at the source indexes, which nobody changes meanwhile."""
    folder = _cache_folder(subject)
    _update(folder, limits.timeout)
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield _options(folder)


@functools.cache
def _update(folder: Path, timeout: float) -> None:
    """Fetches the source indexes, once a process; where another process just did, that costs one request."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        arguments = [*_options(folder), "--error-on=any", "update"]
        _apt_get(arguments, "Debian's source indexes", folder, timeout, _INDEX_BYTES)


def _options(folder: Path) -> list[str]:
    settings = {
        "APT::Sandbox::User": "root",  # as root: the user _apt may not enter a private folder; otherwise without effect
        "APT::Get::Only-Source": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
        "Dir::Cache": str(folder / "cache"),
        "Dir::State": str(folder / "state"),
        "Dir::Etc::SourceList": str(folder / "sources.list"),
        "Dir::Etc::SourceParts": str(folder / "sources.list.d"),
    }
    return [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]


def _cache_folder(subject: str) -> Path:
    """The folder of this machine's sources, made if need be: what apt is set up for, with `deb` turned into `deb-src`."""
    sources = _configured_sources(subject)
    key = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - does not raise without a home
    folder = root / "repoloom" / "apt" / key
    try:
        (folder / "sources.list.d").mkdir(parents=True, exist_ok=True)
        for name, text in sources.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise SourceUnavailableError(f"{subject}: {folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME") from error
    return folder


def _configured_sources(subject: str) -> dict[str, str]:
    """The source lists of this machine, asking for source packages, by the name they get in a private folder."""
    asked = ["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]
    said = _APT_CONFIG.run(
        asked, subject=subject, folder=Path("/"), timeout=20, environment=_environment(), max_file_bytes=_INDEX_BYTES
    ).decode()
    places = dict(re.findall(r"^(LIST|PARTS)='(.*)'$", said, re.MULTILINE))
    sources = {}
    main = Path(places.get("LIST", ""))
    if main.is_file():
        sources["sources.list"] = _ONE_LINE.sub("deb-src ", main.read_text())
    for path in sorted(Path(places.get("PARTS", "")).glob("*")):
        if path.suffix == ".list":
            sources[f"sources.list.d/{path.name}"] = _ONE_LINE.sub("deb-src ", path.read_text())
        elif path.suffix == ".sources":
            sources[f"sources.list.d/{path.name}"] = _DEB822_TYPES.sub("Types: deb-src", path.read_text())
    return sources


def _apt_get(arguments: list[str], subject: str, folder: Path, timeout: float, max_file_bytes: int) -> None:
    _APT_GET.run(
        ["-qq", *arguments],
        subject=subject,
        folder=folder,
        timeout=timeout,
        environment=_environment(),
        max_file_bytes=max_file_bytes,
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
