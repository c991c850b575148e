"""How a server and a channel are set up; each setting may come from the environment."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from repoloom.errors import InputError

MESSAGE_BYTES = 16 << 20


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=BaseModel)


class ServerSettings(_Settings):
    """One server: where it listens, whom it trusts, and what it lets a client take."""

    address: str = "127.0.0.1:50051"  # port 0: any free one
    cert_file: Path | None = None  # PEM, chain included; read again when it changes
    key_file: Path | None = None
    client_ca_file: Path | None = None  # then every client shows a certificate that it signed
    callers_file: Path | None = None  # see repoloom.rpc.callers
    allow_insecure: bool = False  # beyond loopback without TLS or without callers
    max_message_bytes: int = Field(default=MESSAGE_BYTES, ge=1024)
    max_calls: int = Field(default=64, ge=1)  # that run at once; more are refused at once
    max_waits: int = Field(default=128, ge=1)  # likewise of calls that only wait, for a job to end
    caller_share: float = Field(default=0.75, gt=0, le=1)  # of both, which one of several callers may have
    max_streams: int = Field(default=128, ge=1)  # of one connection at once; more wait in the client
    max_connections: int = Field(default=1024, ge=1)
    call_seconds: float = Field(default=3600, gt=0)  # the longest deadline, and that of a call which brings none
    quiet_seconds: float = Field(default=300, gt=0)  # that a call waits for the client's next message, or to send one
    drain_seconds: float = Field(default=30, ge=0)
    connection_idle_seconds: float = Field(default=600, gt=0)
    connection_age_seconds: float = Field(default=1800, gt=0)  # then its clients connect anew, and spread out again
    keepalive_seconds: float = Field(default=60, gt=0)
    metrics_address: str | None = None  # of /metrics and /healthz, such as 127.0.0.1:9464

    @model_validator(mode="after")
    def _safe(self) -> "ServerSettings":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("client_ca_file needs cert_file and key_file: client certificates are part of TLS")
        if self.client_ca_file and not self.callers_file:
            raise ValueError("client_ca_file needs callers_file, which says what each certificate may do")
        if not (self.allow_insecure or is_local(self.address) or (self.cert_file and self.callers_file)):
            raise ValueError(
                f"{self.address} is reached from elsewhere, so it needs cert_file, key_file and callers_file; "
                "allow_insecure=true does without, for a network that nobody else is on"
            )
        return self


class ChannelSettings(_Settings):
    """One channel: whom it calls, and as whom."""

    target: str  # host:port, or any name that gRPC resolves
    ca_file: Path | None = None  # without one: the usual authorities
    cert_file: Path | None = None
    key_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None  # read again when it changes
    plaintext: bool = False  # beyond loopback without TLS, token and all
    max_message_bytes: int = Field(default=MESSAGE_BYTES, ge=1024)
    call_seconds: float = Field(default=60, gt=0)  # of a call that is given no timeout
    attempts: int = Field(default=5, ge=2, le=5)  # of calls that may be repeated; gRPC allows five
    keepalive_seconds: float = Field(default=60, ge=10)

    @model_validator(mode="after")
    def _whole(self) -> "ChannelSettings":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.token and self.token_file:
            raise ValueError("give a token or a token_file, not both")
        if self.plaintext and (self.ca_file or self.cert_file):
            raise ValueError("plaintext has no use for certificates")
        return self

    @property
    def secure(self) -> bool:
        """Whether the channel speaks TLS: always, but on loopback with no authority given, or where told not to."""
        return not self.plaintext and bool(self.ca_file or self.cert_file or not is_local(self.target))


def from_environment(model: type[S], prefix: str, environment: Mapping[str, str], **given: object) -> S:
    """Settings out of variables `PREFIX_FIELD`; what is `given` comes first. Raises InputError."""
    named = {field: value for field in model.model_fields if (value := environment.get(f"{prefix}_{field.upper()}"))}
    try:
        return model.model_validate({**named, **given})
    except ValidationError as error:
        said = "; ".join(
            ".".join(str(at) for at in problem["loc"]) + (": " if problem["loc"] else "") + problem["msg"]
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise InputError(f"{model.__name__}: {said} (variables {prefix}_…)") from None  # its text holds the values


def is_local(address: str) -> bool:
    """Whether only this machine is meant: a Unix socket, localhost or a loopback address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = split_address(address)[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[::1]:port`, or either behind a scheme such as `dns:///`."""
    host, _, port = address.rpartition("/")[2].removeprefix("dns:").rpartition(":")
    return host.strip("[]"), port
