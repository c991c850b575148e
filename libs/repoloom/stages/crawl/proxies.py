"""The proxies that this machine is set up for, through which the gateway goes out."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from repoloom.stages.crawl.errors import SourceUnavailableError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy, itself spoken to in the clear or by TLS."""

    host: str
    port: int
    tls: bool
    authorization: str | None  # the value of Proxy-Authorization

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """The proxy at an address; one without a scheme is an http:// one. Raises SourceUnavailableError."""
        address = urlsplit(url if "://" in url else f"http://{url}")
        try:
            usual = _PORTS[address.scheme]
            port = address.port or usual
        except (KeyError, ValueError):
            raise SourceUnavailableError(
                f"the proxy at {address.hostname} cannot be used: sources are fetched by way of http:// and https:// "
                "proxies only"
            ) from None
        login = f"{unquote(address.username or '')}:{unquote(address.password or '')}"
        return cls(
            host=address.hostname or "",
            port=port,
            tls=address.scheme == "https",
            authorization=f"Basic {base64.b64encode(login.encode()).decode()}" if address.username else None,
        )


@dataclass(frozen=True)
class Proxies:
    """Which proxy leads where."""

    settings: Mapping[str, str]  # as `urllib.request.getproxies_environment` gives them

    @classmethod
    def configured(cls, http: str | None = None, https: str | None = None, no: str | None = None) -> "Proxies":
        """Those of the environment, where a client's own configuration has no other.

        `no` are the hosts that are gone to without a proxy, by commas.
        """
        own = {"http": http, "https": https, "no": no}
        return cls({**getproxies_environment(), **{name: value for name, value in own.items() if value}})

    def to(self, scheme: str, host: str) -> Proxy | None:
        """The proxy on the way to a host, None where there is none. Raises SourceUnavailableError."""
        url = self.settings.get(scheme) or self.settings.get("all")
        if not url or proxy_bypass_environment(host, dict(self.settings)):
            return None
        return Proxy.parse(url)
