"""A request as clients send it to a proxy (RFC 9112 section 3.2): to a host by CONNECT, or for an http:// address."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from repoloom.stages.crawl.proxies import Proxy

_LINE = re.compile(r"([!-~]+) ([!-~]+) HTTP/1\.[01]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[^\r\n\0]*")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[\w.-]+)?\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)
_OWN = frozenset(("host", "connection", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"))
"""Headers that are the proxy's own to say, or that mean only the connection to it (RFC 9110 section 7.6.1)."""


class RequestError(ValueError):
    """What was sent is no request to a proxy."""


@dataclass(frozen=True)
class Request:
    """The head of a request."""

    method: str
    host: str  # an address of IPv6 without its brackets
    port: int
    path: str  # and query; "" for a tunnel
    headers: tuple[str, ...]

    @classmethod
    def parse(cls, head: bytes) -> "Request":
        """The request that a head stands for. Raises RequestError."""
        first, *headers = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        line = _LINE.fullmatch(first)
        if line is None or not all(_HEADER.fullmatch(header) for header in headers):
            raise RequestError("this is no HTTP request")
        method, target = line.groups()
        if method == "CONNECT":
            return cls(method, *_host_and_port(target, None), path="", headers=tuple(headers))
        try:
            address = urlsplit(target)
        except ValueError as error:
            raise RequestError(f"{target!r} is no address") from error
        if address.scheme != "http":
            raise RequestError("this is a proxy: ask for an http:// address, or by CONNECT for a host")
        path = address._replace(scheme="", netloc="", fragment="").geturl()
        host, port = _host_and_port(address.netloc.rpartition("@")[2], 80)
        return cls(method, host, port, path if path.startswith("/") else f"/{path}", tuple(headers))

    @property
    def tunnel(self) -> bool:
        """Whether it asks for a connection to a host, rather than for what lies there."""
        return self.method == "CONNECT"

    def forwarded(self, proxy: Proxy | None) -> bytes:
        """The head to send on, to the host itself or to a further proxy. What follows it goes on as it is.

        It is the last of its connection, so that the next one is asked for, and checked, again.
        """
        authority = f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        target = authority if self.tunnel else f"http://{authority}{self.path}" if proxy else self.path
        host = authority if self.tunnel or self.port != 80 else authority.removesuffix(":80")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [header for header in self.headers if header.partition(":")[0].lower() not in _OWN]
        if proxy and proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        if not self.tunnel:
            lines.append("Connection: close")
        return "\r\n".join((*lines, "", "")).encode("latin-1")


def _host_and_port(authority: str, usual: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(authority)
    port = int(found[2] or usual or 0) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise RequestError(f"{authority!r} is no host and port")
    return found[1].strip("[]").replace("%25", "%"), port
