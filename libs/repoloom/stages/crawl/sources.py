"""The sources of a recipe: where real projects lie. What is written here is data; nothing is fetched.

What is wrong is said without the value: an address may hold a secret, and errors are read by others and kept in logs.
"""

import os
import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from repoloom.corpus.manifest import canonical_json
from repoloom.errors import InputError
from repoloom.stages.crawl.paths import repository_name

GIT_SCHEMES = ("https", "ssh", "git", "http")


def _like(pattern: str, what: str) -> AfterValidator:
    """A validator whose error says what was expected."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"this is not {what}")
        return value

    return AfterValidator(check)


def _spdx(expression: str) -> str:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression as error:
        raise ValueError("this is not an SPDX licence expression such as 'MIT OR Apache-2.0'") from error


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: Annotated[str, _like(r"[a-z][a-z0-9_-]*", "a domain such as 'code' or 'english'")] = "code"
    repo: str | None = None  # the repository's name, where the usual one is not unique
    license: Annotated[str, AfterValidator(_spdx)] | None = None  # where it is known, and the files do not say it

    @property
    def usual_name(self) -> str:
        """The repository's name unless `repo` gives another."""
        raise NotImplementedError

    @property
    def repository(self) -> str:
        """The name of the source's repository; of a table of many, what their names begin with."""
        return repository_name(self.repo or self.usual_name)


class PypiSource(_Source):
    """A project's source distribution, from the indexes that pip is set up for."""

    kind: Literal["pypi"]
    name: Annotated[str, _like(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "a project's name")]
    version: Annotated[str, _like(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", "one version such as '2.32.3'")]
    sha256: Annotated[str, _like(r"[0-9a-f]{64}", "64 hexadecimal digits")] | None = None

    @property
    def usual_name(self) -> str:
        return f"pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}"

    def __str__(self) -> str:
        return f"pypi {self.name} {self.version}"


class NpmSource(_Source):
    """A package's tarball, from the registry that npm is set up for."""

    kind: Literal["npm"]
    name: Annotated[str, _like(r"(@[A-Za-z0-9~][\w.~-]*/)?[A-Za-z0-9~_][\w.~-]*", "a package's name")]
    version: Annotated[str, _like(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", "one version such as '4.17.21'")]
    integrity: Annotated[str, _like(r"sha512-[A-Za-z0-9+/]{86}==", "sha512-<base64>, as in a lock file")] | None = None

    @property
    def usual_name(self) -> str:
        return f"npm/{self.name}"

    def __str__(self) -> str:
        return f"npm {self.name} {self.version}"


class DebianSource(_Source):
    """A source package, from the archives that apt is set up for."""

    kind: Literal["debian"]
    name: Annotated[str, _like(r"[a-z0-9][a-z0-9+.-]+", "a source package's name")]
    version: Annotated[str, _like(r"[0-9][A-Za-z0-9.+:~-]*", "one version such as '1:1.2.13.dfsg-1'")]

    @property
    def usual_name(self) -> str:
        return f"debian/{self.name}"

    def __str__(self) -> str:
        return f"debian {self.name} {self.version}"


class GitSource(_Source):
    """One revision of a git repository: of a URL, or of a folder of this machine given as `path`."""

    kind: Literal["git"]
    url: str | None = None
    path: str | None = None
    revision: Annotated[str, _like(r"[A-Za-z0-9][\w./@+-]*", "a commit, branch or tag")] = "HEAD"

    @model_validator(mode="after")
    def _one_safe_address(self) -> "GitSource":
        if (self.url is None) == (self.path is None):
            raise ValueError("give either `url` or, for a repository of this machine, `path`")
        if ".." in self.revision:
            raise ValueError("`revision` is a range, not a commit, branch or tag")
        if self.url is not None:
            _check_url(self.url)
        return self

    @property
    def usual_name(self) -> str:
        if self.url is None:
            return f"git/{_stem(self.path or '').removesuffix('.git')}"
        address = urlsplit(self.url)
        return f"git/{address.hostname}/{address.path.strip('/').removesuffix('.git')}"

    def __str__(self) -> str:
        return f"git {self.url or self.path} {self.revision}"


def _check_url(url: str) -> None:
    """Refuses what git would read as an option, a command (`ext::`), a local path, or a secret."""
    if "::" in url or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("`url` is not an address that is fetched from")
    try:
        address = urlsplit(url)
    except ValueError:
        raise ValueError("`url` has brackets, and no IPv6 address in them") from None
    if address.scheme not in GIT_SCHEMES:
        raise ValueError(f"`url` must begin with one of {', '.join(f'{scheme}://' for scheme in GIT_SCHEMES)}")
    if not re.fullmatch(r"[A-Za-z0-9\[][A-Za-z0-9.:\[\]_-]*", address.hostname or "") or not address.path.strip("/"):
        raise ValueError("`url` names no host or no repository")
    if address.password is not None or (address.username is not None and address.scheme != "ssh"):
        raise ValueError("`url` must not hold a name or password: let git's credential helper give them")
    if address.query or address.fragment:
        raise ValueError("`url` must not have a query or a fragment")


class _Local(_Source):
    """Files of this machine. `revision` is computed from their content by `resolve`, unless it is given."""

    path: str
    revision: str | None = None

    @property
    def usual_name(self) -> str:
        return f"{self.kind}/{_stem(self.path)}"  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"  # type: ignore[attr-defined]


class FolderSource(_Local):
    """A folder or a single file. `{stdlib}` and `{site-packages}` are Python's library and its installed packages."""

    kind: Literal["folder"]
    each: bool = False  # every folder and file in it is a repository of its own


class ArchiveSource(_Local):
    """A tar archive (plain, gz, bz2, xz, zst) or a zip."""

    kind: Literal["archive"]

    @property
    def usual_name(self) -> str:
        return re.sub(r"(\.tar)?\.(gz|bz2|xz|zst|tar|tgz|zip)$", "", super().usual_name)


class Columns(BaseModel):
    """Which column says what. Without `repo` each row is a repository; without `path` a row's number is its path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str | None = "repo"
    path: str | None = "path"
    content: str = "content"


class _Rows(_Local):
    columns: Columns = Columns()

    @property
    def usual_name(self) -> str:
        return re.sub(r"\.(jsonl|ndjson|parquet)(\.(gz|bz2|xz|zst))?$", "", super().usual_name)


class JsonlSource(_Rows):
    """A JSON object a line, a file each; plain or compressed."""

    kind: Literal["jsonl"]


class ParquetSource(_Rows):
    """A Parquet table, a file a row."""

    kind: Literal["parquet"]


LocalSource: TypeAlias = FolderSource | ArchiveSource | JsonlSource | ParquetSource
Source: TypeAlias = Annotated[
    PypiSource | NpmSource | DebianSource | GitSource | FolderSource | ArchiveSource | JsonlSource | ParquetSource,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Source] = TypeAdapter(Source)


def to_json(source: Source) -> str:
    """A source as canonical JSON."""
    return canonical_json(source.model_dump(mode="json")).decode()


def from_json(text: str) -> Source:
    """The source that `to_json` wrote. Raises InputError."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise InputError(f"not a source: {problems}") from error


def _stem(path: str) -> str:
    return os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - a Path would resolve nothing more, and cost more
