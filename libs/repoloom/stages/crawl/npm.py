"""A package's tarball through the npm client, which verifies it. Its install scripts never run: it is not installed."""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from repoloom import programs
from repoloom.stages.crawl.client import Client, Job
from repoloom.stages.crawl.errors import SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.gateway import gateway
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.policy import Policy, host_name
from repoloom.stages.crawl.proxies import Proxies
from repoloom.stages.crawl.sources import NpmSource

_NPM = Client("npm", "apt-get install npm")
_OPTIONS = (
    "--ignore-scripts",
    "--loglevel=error",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",  # milliseconds, as all its times
    "--fetch-timeout=60000",
)
_HEEDED = ("npm_config_*", "NPM_CONFIG_*", "NPM_TOKEN", "NODE_AUTH_TOKEN", "NODE_EXTRA_CA_CERTS")
"""The tokens are those that an .npmrc names by custom, so that it need not hold them."""

_NO_HOST = ":"  # an empty list would leave the user's own in force


def download(source: NpmSource, limits: Limits, scratch: Path) -> Path:
    """The tarball as a file in `scratch`.

    Raises SourceUnavailableError, UnreadableSourceError, RepositoryTooLargeError and NotAllowedError.
    """
    tarballs = scratch / "npm"
    tarballs.mkdir()
    # In a folder of its own, an .npmrc or package.json of the folder that the user stands in has no say.
    job = Job(str(source), tarballs, programs.environment(*_HEEDED), limits.timeout, limits.max_repository_bytes)
    registries, proxies = _configured(job, source.name.rpartition("/")[0])
    to = ("--pack-destination", tarballs, "--cache", scratch / "npm-cache")
    with gateway(str(source), Policy.here(), registries, proxies) as way:
        led = (f"--proxy={way.url}", f"--https-proxy={way.url}", f"--noproxy={_NO_HOST}")
        led_job = replace(job, environment={**job.environment, **way.environment})
        _NPM.run(led_job, "pack", f"{source.name}@{source.version}", *to, *led, *_OPTIONS)
    found = list(tarballs.glob("*.tgz"))
    if len(found) != 1:
        raise SourceUnavailableError(f"{source}: npm gave no tarball")
    if source.integrity:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode()
        if digest != source.integrity:
            raise UnreadableSourceError(f"{source}: its tarball has the integrity {digest}, not the one expected")
    return found[0]


def _configured(job: Job, scope: str) -> tuple[frozenset[str], Proxies]:
    """The hosts of the registries that npm is set up for, and its proxies."""
    scoped = [f"{scope}:registry"] if scope else []
    said = _NPM.run(job, "config", "get", "registry", "proxy", "https-proxy", "noproxy", *scoped).decode()
    values = dict(line.partition("=")[::2] for line in said.splitlines())
    registries = (urlsplit(values.get(name, "")).hostname for name in ("registry", *scoped))
    proxy, https, no = (_unless_null(values.get(name)) for name in ("proxy", "https-proxy", "noproxy"))
    return frozenset(host_name(host) for host in registries if host), Proxies.configured(proxy, https or proxy, no)


def _unless_null(value: str | None) -> str | None:
    return None if value in ("null", "undefined", "false") else value
