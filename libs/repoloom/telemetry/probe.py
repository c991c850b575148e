"""`python -m repoloom.telemetry.probe [URL]`: ends with 0 where what runs in this container says that it is well.

Asked is /healthz of the address at which a service or worker was told to serve its metrics: plain HTTP, so that it
answers whatever TLS, tokens and client certificates guard the calls. Where neither is served there is nothing to ask.
"""

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

_ADDRESSES = ("REPOLOOM_SERVER_METRICS_ADDRESS", "REPOLOOM_WORKER_METRICS_ADDRESS")
_SECONDS = 5


def is_well(url: str) -> bool:
    """Whether the answer is 200."""
    try:
        with urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - an address of this container's own
            return bool(answer.status == 200)
    except (URLError, TimeoutError):
        return False


def main() -> None:
    """The entry point."""
    served = [os.environ[name].rpartition(":")[2] for name in _ADDRESSES if os.environ.get(name)]
    urls = sys.argv[1:] or [f"http://127.0.0.1:{port}/healthz" for port in served]
    sys.exit(not all(map(is_well, urls)))


if __name__ == "__main__":
    main()
