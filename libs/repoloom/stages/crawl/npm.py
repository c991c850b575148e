"""A package's tarball through the npm client, which verifies it. Its install scripts never run: it is not installed."""

import base64
import hashlib
import os
from pathlib import Path

from repoloom.stages.crawl.client import Client, Job
from repoloom.stages.crawl.errors import SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.limits import Limits
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


def download(source: NpmSource, limits: Limits, scratch: Path) -> Path:
    """The tarball as a file in `scratch`.

    Raises SourceUnavailableError, UnreadableSourceError and RepositoryTooLargeError.
    """
    tarballs = scratch / "npm"
    tarballs.mkdir()
    # In a folder of its own, an .npmrc or package.json of the folder that the user stands in has no say.
    job = Job(str(source), tarballs, os.environ, limits.timeout, limits.max_repository_bytes)
    to = ("--pack-destination", tarballs, "--cache", scratch / "npm-cache")
    _NPM.run(job, "pack", f"{source.name}@{source.version}", *to, *_OPTIONS)
    found = list(tarballs.glob("*.tgz"))
    if len(found) != 1:
        raise SourceUnavailableError(f"{source}: npm gave no tarball")
    if source.integrity:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode()
        if digest != source.integrity:
            raise UnreadableSourceError(f"{source}: its tarball has the integrity {digest}, not the one expected")
    return found[0]
