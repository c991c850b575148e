"""Where the services are: as a command was told, as the environment says, or as the stack of a folder has them."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from repoloom.errors import InputError, UnavailableError
from repoloom.rpc.catalog import Name
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import error_of
from repoloom.rpc.settings import ChannelSettings, from_environment
from repoloom.text import none_of
from repoloom.up.surroundings import SERVICES

_SECONDS = 10.0


def find_services(targets: Iterable[str], environment: Mapping[str, str]) -> dict[str, ChannelSettings]:
    """How each service is reached, by name. Raises InputError, UnavailableError."""
    found: dict[str, ChannelSettings] = {}
    for word in words(targets, environment):
        found.update(services_at(word, environment))
    return found


def words(targets: Iterable[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """What is said of where the services are, by `targets` or else by the environment; `services_at` reads each word.

    Raises InputError where nothing is.
    """
    said = tuple(targets) or tuple(filter(None, environment.get(SERVICES, "").split(",")))
    if not said:
        raise InputError(
            f"no services are known here: start some with `repoloom up`, or give --target host:port, or set {SERVICES} "
            "to filter=host:port,..."
        )
    return said


def services_at(word: str, environment: Mapping[str, str], seconds: float = _SECONDS) -> dict[str, ChannelSettings]:
    """The services that `name=host:port` names, or that the server at `host:port` has, which is waited for so long.

    Raises InputError, UnavailableError.
    """
    name, _, target = word.strip().rpartition("=")
    settings = from_environment(ChannelSettings, "REPOLOOM_CLIENT", environment, target=target)
    if name and name not in tuple(Name):
        raise InputError(f"{word}: {none_of(name, Name)}")
    return dict.fromkeys([name] if name else _served(settings, seconds), settings)


def health(name: str, settings: ChannelSettings, seconds: float = _SECONDS) -> bool | None:
    """Whether a service serves; None where the server has none of that name. Raises UnavailableError.

    It is asked without credentials.
    """
    with open_channel(settings) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # it has no types
        try:
            said = stub.Check(health_pb2.HealthCheckRequest(service=full_name(name)), timeout=seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise UnavailableError(f"{settings.target} does not answer: {error_of(error)}") from error
    return bool(said.status == health_pb2.HealthCheckResponse.SERVING)


def _served(settings: ChannelSettings, seconds: float) -> list[str]:
    """The services that a server has. Raises InputError, UnavailableError."""
    names: list[str] = [name for name in Name if health(name, settings, seconds) is not None]
    if not names:
        raise InputError(f"{settings.target} is a server, and none of repoloom's services")
    return names


def full_name(name: str) -> str:
    """The name of a service in its protocol: repoloom.filter.v1.FilterService."""
    return f"repoloom.{name}.v1.{name.title().replace('_', '')}Service"
