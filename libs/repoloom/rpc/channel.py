"""The client's side: one way to open a channel, for threads or for asyncio.

Calls on it bear a request id, the trace, the token and a deadline, and those that may be repeated are, where the server
asks for it. `repoloom.rpc.errors.raised_as_own` turns what they raise into repoloom's errors.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from repoloom.errors import InputError
from repoloom.rpc.call import current_call, new_request_id
from repoloom.rpc.errors import REQUEST_ID
from repoloom.rpc.security import channel_credentials
from repoloom.rpc.settings import ChannelSettings
from repoloom.telemetry import tracing

Metadata = Iterable[tuple[str, str | bytes]]
# The four repeats that gRPC allows, over some 14 s: a client of a server that went looks its successor up meanwhile.
_INITIAL_BACKOFF, _MAX_BACKOFF, _BACKOFF_FACTOR = "0.2s", "10s", 4
_REPEATED = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
"""With the last a server ends what reaches it just as it goes; what a caller has cancelled itself is not repeated."""


def open_channel(settings: ChannelSettings, idempotent: Iterable[str] = ()) -> grpc.Channel:
    """A channel for threads. `idempotent` may be repeated: `package.Service/Method`, or all of `package.Service`."""
    credentials = channel_credentials(settings)
    options = _options(settings, idempotent)
    if credentials is None:
        return _Channel(grpc.insecure_channel(settings.target, options), _Outgoing(settings))
    return _Channel(grpc.secure_channel(settings.target, credentials, options), _Outgoing(settings))


def open_aio_channel(settings: ChannelSettings, idempotent: Iterable[str] = ()) -> grpc.aio.Channel:
    """A channel for asyncio. `idempotent` may be repeated: `package.Service/Method`, or all of `package.Service`."""
    credentials = channel_credentials(settings)
    options = _options(settings, idempotent)
    if credentials is None:
        return _AioChannel(grpc.aio.insecure_channel(settings.target, options), _Outgoing(settings))
    return _AioChannel(grpc.aio.secure_channel(settings.target, credentials, options), _Outgoing(settings))


class _Outgoing:
    """What each call is given on its way."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings
        self._token = _TokenFile(settings.token_file) if settings.token_file else None

    def timeout(self, given: float | None) -> float:
        """The caller's own, or the default; never beyond the deadline of the call that is being answered meanwhile."""
        seconds = self._settings.call_seconds if given is None else given
        call = current_call()
        return min(seconds, call.remaining) if call else seconds

    def metadata(self, given: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
        """The caller's own and ours."""
        call = current_call()
        ours: dict[str, str | bytes] = {REQUEST_ID: call.request_id if call else new_request_id(), **tracing.inject()}
        token = self._token.read() if self._token else self._settings.token and self._settings.token.get_secret_value()
        if token:
            ours["authorization"] = f"Bearer {token}"
        return (*({**ours, **dict(given or ())}).items(),)


class _TokenFile:
    """A token that somebody else renews."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._token = ""

    def read(self) -> str:
        """The token as the file has it now. Raises InputError."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - one call a request
            if (version := (stat.st_mtime_ns, stat.st_ino)) != self._seen:
                self._token, self._seen = self._path.read_text(encoding="ascii").strip(), version
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the token in {self._path}; is it there, and yours to read?") from error
        return self._token


class _Method:
    """A method of a channel, of any kind: called as gRPC's own is."""

    def __init__(self, method: Any, outgoing: _Outgoing) -> None:  # noqa: ANN401 - four kinds, twice
        self._method = method
        self._outgoing = outgoing

    def __call__(
        self, *request: object, timeout: float | None = None, metadata: Metadata | None = None, **rest: object
    ) -> Any:  # noqa: ANN401
        return self._call(self._method, request, timeout, metadata, rest)

    def with_call(
        self, *request: object, timeout: float | None = None, metadata: Metadata | None = None, **rest: object
    ) -> Any:  # noqa: ANN401
        return self._call(self._method.with_call, request, timeout, metadata, rest)

    def future(
        self, *request: object, timeout: float | None = None, metadata: Metadata | None = None, **rest: object
    ) -> Any:  # noqa: ANN401
        return self._call(self._method.future, request, timeout, metadata, rest)

    def _call(
        self,
        how: Callable[..., Any],
        request: tuple[Any, ...],
        timeout: float | None,
        metadata: Metadata | None,
        rest: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        outgoing = self._outgoing
        return how(*request, timeout=outgoing.timeout(timeout), metadata=outgoing.metadata(metadata), **rest)


class _Channel(grpc.Channel):
    def __init__(self, channel: grpc.Channel, outgoing: _Outgoing) -> None:
        self._channel = channel
        self._outgoing = outgoing

    def unary_unary(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.unary_unary(*method, **rest), self._outgoing)

    def unary_stream(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.unary_stream(*method, **rest), self._outgoing)

    def stream_unary(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.stream_unary(*method, **rest), self._outgoing)

    def stream_stream(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.stream_stream(*method, **rest), self._outgoing)

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "_Channel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _AioChannel(grpc.aio.Channel):
    def __init__(self, channel: grpc.aio.Channel, outgoing: _Outgoing) -> None:
        self._channel = channel
        self._outgoing = outgoing

    def unary_unary(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.unary_unary(*method, **rest), self._outgoing)

    def unary_stream(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.unary_stream(*method, **rest), self._outgoing)

    def stream_unary(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.stream_unary(*method, **rest), self._outgoing)

    def stream_stream(self, *method: Any, **rest: Any) -> Any:  # noqa: ANN401
        return _Method(self._channel.stream_stream(*method, **rest), self._outgoing)

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> "_AioChannel":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _options(settings: ChannelSettings, idempotent: Iterable[str]) -> list[tuple[str, Any]]:
    return [
        ("grpc.service_config", json.dumps(_service_config(settings, idempotent))),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.dns_min_time_between_resolutions_ms", 1000),  # 30 s else, in which a server's successor is not found
        ("grpc.compression_enabled_algorithms_bitset", 1),  # as the server does, and for its reason
    ]


def _service_config(settings: ChannelSettings, idempotent: Iterable[str]) -> dict[str, object]:
    """A service config: all addresses of a name in turn, without those that say they do not serve; repeats (gRFC A6).

    The throttle ends repeats while more than half of the calls fail: a server in trouble is not asked five times.
    """
    config: dict[str, object] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
    }
    names = []
    for path in idempotent:
        service, slash, method = path.partition("/")
        if "." not in service or bool(slash) != bool(method):
            raise InputError(f"{path!r} is neither package.Service nor package.Service/Method")
        names.append({"service": service, "method": method} if method else {"service": service})
    if names:
        config["methodConfig"] = [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": settings.attempts,
                    "initialBackoff": _INITIAL_BACKOFF,
                    "maxBackoff": _MAX_BACKOFF,
                    "backoffMultiplier": _BACKOFF_FACTOR,
                    "retryableStatusCodes": _REPEATED,
                },
            }
        ]
    return config
