"""The one way out: a proxy on the loopback that every client fetches through, and that goes where the policy lets it.

Clients (git, npm, apt, unearth) follow redirects and links as they like; each connection that they want is asked for
here, by name. The name is resolved once, all its addresses are checked, and a checked one is connected to: neither a
redirect nor a DNS answer that changes leads past the check. Where a proxy of the machine is on the way, that proxy
resolves the name; then names that are known here are checked, and the others are its to judge.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any

from repoloom.stages.crawl.addresses import Place, parse, place
from repoloom.stages.crawl.errors import NotAllowedError, SourceUnavailableError
from repoloom.stages.crawl.policy import Policy, host_name
from repoloom.stages.crawl.proxies import Proxies, Proxy
from repoloom.stages.crawl.request import Request

_HEAD_BYTES = 64 << 10
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 10.0  # for each address
_CHUNK = 1 << 16


class Gateway:
    """What a client is told of it, and what it did."""

    def __init__(self, policy: Policy, trusted: frozenset[str], proxies: Proxies) -> None:
        self.url = ""
        self.refused: list[NotAllowedError] = []
        self.trouble: list[str] = []
        self._policy = policy
        self._trusted = trusted
        self._proxies = proxies
        self._known: dict[str, list[str]] = {}

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead a client here, whichever host it goes to."""
        names = ("http_proxy", "https_proxy", "all_proxy")
        led = {name: self.url for lower in names for name in (lower, lower.upper())}
        return {**led, "no_proxy": "", "NO_PROXY": ""}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection of a client: one request, whatever the client hoped for."""
        async with _closing(writer):
            try:
                async with asyncio.timeout(_HEAD_SECONDS):
                    request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
                there_reader, there = await self._connect(request)
            except NotAllowedError as error:
                self.refused.append(error)
                _say(writer, "403 Forbidden", str(error))
            except SourceUnavailableError as error:
                self.trouble.append(str(error))
                _say(writer, "502 Bad Gateway", str(error))
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                _say(writer, "400 Bad Request", str(error))
            else:
                async with _closing(there):
                    if request.tunnel and self._proxy(request) is None:
                        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    else:
                        there.write(request.forwarded(self._proxy(request)))
                    await _relay((reader, there), (there_reader, writer))

    def _proxy(self, request: Request) -> Proxy | None:
        return self._proxies.to("https" if request.tunnel else "http", request.host)

    async def _connect(self, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        proxy = self._proxy(request)
        try:
            addresses = await self._addresses(request.host)
        except socket.gaierror as error:
            if proxy is None:
                raise SourceUnavailableError(f"{request.host} cannot be resolved: {error.strerror}") from error
            addresses = []
        if proxy is not None:
            return await _open([proxy.host], proxy.port, proxy.tls)
        return await _open(addresses, request.port, tls=False)

    async def _addresses(self, host: str) -> list[str]:
        """The addresses of a host, checked; the same for as long as the gateway stands."""
        if host not in self._known:
            found = await asyncio.get_running_loop().run_in_executor(None, resolve, host)
            trusted = self._trusted | ({host_name(host)} if self._is_intercepted(found) else set())
            for address in found:
                self._policy.check_address(host, address, trusted)
            self._known.setdefault(host, found)
        return self._known[host]

    def _is_intercepted(self, addresses: list[str]) -> bool:
        """Whether a middlebox that answers for a trusted host answers here too, at an address of nobody."""
        trusted = {
            address for host, known in self._known.items() if host_name(host) in self._trusted for address in known
        }
        return all(address in trusted and place(parse(address)) is Place.STAND_IN for address in addresses)


@contextlib.contextmanager
def gateway(subject: str, policy: Policy, trusted: frozenset[str], proxies: Proxies) -> Iterator[Gateway]:
    """A gateway for the length of a block that fetches `subject`.

    `trusted` are hosts that may have private addresses. A SourceUnavailableError of the block becomes a
    NotAllowedError where the gateway refused the client something, and else says what the gateway met.
    """
    way = Gateway(policy, trusted, proxies)
    with _serving(way):
        try:
            yield way
        except SourceUnavailableError as error:
            if way.refused:
                raise NotAllowedError(f"{subject}: {way.refused[-1]}") from error
            if way.trouble:
                raise type(error)(f"{error} ({way.trouble[-1]})") from error
            raise


def resolve(host: str) -> list[str]:
    """The addresses of a host. Every spelling of an address is read as the system reads it. Raises gaierror."""
    found = socket.getaddrinfo(host_name(host), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@contextlib.contextmanager
def _serving(way: Gateway) -> Iterator[None]:
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    way.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=_run, args=(loop, _serve(way, listener, stop)), daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _serve(way: Gateway, listener: socket.socket, stop: asyncio.Event) -> None:
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(way.serve(reader, writer))
        connections.add(connection)
        connection.add_done_callback(connections.discard)

    async with await asyncio.start_server(accept, sock=listener, limit=_HEAD_BYTES):
        await stop.wait()
    for connection in connections:
        connection.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


def _run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()  # without waiting for a resolver that hangs


async def _open(addresses: list[str], port: int, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first of some addresses that takes it. Raises SourceUnavailableError."""
    problem = ""
    for address in addresses:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(address, port, ssl=tls or None)
        except OSError as error:
            problem = f"{address} port {port}: {os.strerror(error.errno) if error.errno else 'no answer'}"
    raise SourceUnavailableError(problem)


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _say(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)


async def _relay(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Carries bytes both ways until one side ends."""
    carried = [asyncio.create_task(_carry(reader, writer)) for reader, writer in ways]
    try:
        await asyncio.wait(carried, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
