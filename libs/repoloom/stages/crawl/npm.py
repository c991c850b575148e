"""A package's tarball through the npm client, which verifies it. Its install scripts never run: it is not installed."""

import base64
import hashlib
import os
from pathlib import Path

from repoloom.stages.crawl.client import Client
from repoloom.stages.crawl.errors import SourceUnavailableError, UnreadableSourceError
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.sources import NpmSource

_NPM = Client("npm", "apt-get install npm")


def download(source: NpmSource, limits: Limits, scratch: Path) -> Path:
    """The tarball as a file in `scratch`. Raises SourceUnavailableError, UnreadableSourceError and RepositoryTooLargeError."""
    tarballs = scratch / "npm"
    tarballs.mkdir()
    arguments = [
        *("pack", f"{source.name}@{source.version}"),
        *("--pack-destination", tarballs, "--cache", scratch / "npm-cache"),
        *("--ignore-scripts", "--no-update-notifier", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"),
    ]
    _NPM.run(
        arguments,
        subject=str(source),
        folder=tarballs,  # an .npmrc or package.json of the folder that the user stands in has no say
        timeout=limits.timeout,
        environment=os.environ,
        max_file_bytes=limits.max_repository_bytes,
    )
    found = list(tarballs.glob("*.tgz"))
    if len(found) != 1:
        raise SourceUnavailableError(f"{source}: npm gave no tarball")
    if source.integrity:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(found[0].read_bytes()).digest()).decode()
        if digest != source.integrity:
            raise UnreadableSourceError(f"{source}: its tarball has the integrity {digest}, not the one expected")
    return found[0]
