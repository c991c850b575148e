"""A source distribution from a Python package index. It is downloaded and unpacked; its build never runs."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from repoloom.stages.crawl.errors import (
    NotAllowedError,
    RepositoryTooLargeError,
    SourceUnavailableError,
    UnreadableSourceError,
)
from repoloom.stages.crawl.gateway import Gateway, gateway
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.policy import Policy, host_name
from repoloom.stages.crawl.proxies import Proxies
from repoloom.stages.crawl.sources import PypiSource

if TYPE_CHECKING:
    from unearth import Link, PackageFinder
    from unearth.fetchers import Fetcher
    from unearth.fetchers.sync import PyPIClient

_CONNECT_SECONDS = 10.0
_CHUNK = 1 << 20


def download(source: PypiSource, limits: Limits, scratch: Path) -> Path:
    """The source distribution as a file in `scratch`, its hashes checked.

    Raises SourceUnavailableError, UnreadableSourceError, RepositoryTooLargeError and NotAllowedError.
    """
    import httpx2
    from unearth.errors import UnpackError, URLError

    pip = _pip_options(source)
    with gateway(str(source), Policy.here(), _hosts(pip), Proxies.configured(pip.proxy, pip.proxy)) as way:
        try:
            with _client(pip, limits, way) as client:
                return _save(client, _find(_finder(pip, client, source), source), source, limits, scratch)
        except NotAllowedError as error:
            raise NotAllowedError(f"{source}: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, URLError, UnpackError) as error:
            raise SourceUnavailableError(f"{source}: {str(error) or type(error).__name__}") from error


def _pip_options(source: PypiSource) -> Any:  # noqa: ANN401 - optparse's
    """The options of `pip download`, with what pip's configuration files and the PIP_* environment say."""
    try:
        from pip._internal.commands import create_command
    except ImportError as error:
        raise SourceUnavailableError(f"{source}: pip is not installed; install it with: python -m ensurepip") from error
    options, _ = create_command("download").parser.parse_args([])
    return options


def _indexes(pip: Any) -> list[str]:  # noqa: ANN401
    return [] if pip.no_index else [pip.index_url, *pip.extra_index_urls]


def _find_links(pip: Any) -> list[str]:  # noqa: ANN401
    return [link for link in pip.find_links if "://" in link or Path(link).exists()]


def _hosts(pip: Any) -> frozenset[str]:  # noqa: ANN401
    """The hosts that pip is set up for."""
    addresses = [*_indexes(pip), *_find_links(pip)]
    return frozenset(host_name(host) for address in addresses if (host := urlsplit(address).hostname))


def _folders(pip: Any) -> list[Path]:  # noqa: ANN401
    """The folders that pip is set up for; that of an index is one of a mirror, which has the files beside it."""
    indexes = [_path(url).parent for url in _indexes(pip) if url.startswith("file:")]
    links = [_path(link) for link in _find_links(pip) if link.startswith("file:") or "://" not in link]
    return [folder.resolve() for folder in (*indexes, *links)]


def _path(link: str) -> Path:
    return Path(url2pathname(urlsplit(link).path) if link.startswith("file:") else link)


def _client(pip: Any, limits: Limits, way: Gateway) -> "PyPIClient":  # noqa: ANN401
    """A client that goes by way of the gateway, also to the hosts whose certificates are not checked."""
    import ssl

    import httpx2
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import LocalFSTransport, PyPIClient

    folders = _folders(pip)

    class LocalFiles(LocalFSTransport):
        """The files of the folders that pip is set up for, and no others: a page or a redirect may name any."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            path = _path(str(request.url)).resolve()
            if not any(path.is_relative_to(folder) for folder in folders):
                raise NotAllowedError(f"the index leads to {path}, which lies in no folder that pip is set up for")
            return super().handle_request(request)

    unchecked = httpx2.HTTPTransport(verify=False, cert=pip.client_cert, proxy=way.url)
    return PyPIClient(
        mounts={"file://": LocalFiles(), **{f"all://{host}": unchecked for host in pip.trusted_hosts}},
        trusted_hosts=pip.trusted_hosts,
        verify=ssl.create_default_context(cafile=pip.cert) if pip.cert else True,
        cert=pip.client_cert,
        proxy=way.url,
        timeout=httpx2.Timeout(min(pip.timeout, limits.timeout), connect=_CONNECT_SECONDS),
        auth=MultiDomainBasicAuth(prompting=False, index_urls=_indexes(pip)),
        follow_redirects=True,
    )


def _finder(pip: Any, client: "PyPIClient", source: PypiSource) -> "PackageFinder":  # noqa: ANN401
    from unearth import PackageFinder

    return PackageFinder(
        session=cast("Fetcher", client),
        index_urls=_indexes(pip),
        find_links=_find_links(pip),
        trusted_hosts=pip.trusted_hosts,
        no_binary=[source.name],
        ignore_compatibility=True,  # the sources are read, not run, so any Python will do
    )


def _find(finder: "PackageFinder", source: PypiSource) -> "Link":
    found = finder.find_matches(f"{source.name}=={source.version}")
    links = sorted((package.link for package in found), key=lambda link: link.filename)
    if not links:
        raise SourceUnavailableError(f"{source}: the indexes have no source distribution of this version")
    return links[0]


def _save(client: "PyPIClient", link: "Link", source: PypiSource, limits: Limits, scratch: Path) -> Path:
    wanted = {
        name: set(hashes) for name, hashes in (link.hash_option or {}).items() if name in hashlib.algorithms_guaranteed
    }
    if source.sha256:
        wanted["sha256"] = {source.sha256}
    hashes = {name: hashlib.new(name) for name in wanted}
    saved, size = scratch / "sdist", 0
    with client.get_stream(link.normalized) as response, saved.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK):
            size += len(chunk)
            if size > limits.max_repository_bytes:
                raise RepositoryTooLargeError(
                    f"{source} is a download of more than {limits.max_repository_bytes} bytes"
                )
            file.write(chunk)
            for hash_ in hashes.values():
                hash_.update(chunk)
    for name, hash_ in hashes.items():
        if hash_.hexdigest() not in wanted[name]:
            raise UnreadableSourceError(
                f"{source}: {link.filename} has the {name} {hash_.hexdigest()}, not the one expected"
            )
    return saved
