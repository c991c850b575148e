"""TLS of both sides. Servers read their certificate again when it changes, so a renewed one needs no restart."""

import logging
import os
from pathlib import Path

import grpc

from repoloom.errors import InputError
from repoloom.rpc.settings import ChannelSettings, ServerSettings

_logger = logging.getLogger(__name__)


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """The credentials of a server; None for one without TLS. Raises InputError."""
    if settings.cert_file is None:
        return None
    certificates = _Certificates(settings)
    return grpc.dynamic_ssl_server_credentials(
        certificates.first,
        certificates.changed,  # type: ignore[arg-type]  # the stubs forget that it may be None
        require_client_authentication=settings.client_ca_file is not None,
    )


def channel_credentials(settings: ChannelSettings) -> grpc.ChannelCredentials | None:
    """The credentials of a channel; None for one without TLS. Raises InputError."""
    if not settings.secure:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read(settings.ca_file),
        private_key=_read(settings.key_file),
        certificate_chain=_read(settings.cert_file),
    )


class _Certificates:
    """What each new connection is shown."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._seen = self._versions()
        self.first = self._load()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The certificate if it changed since the last connection; for None gRPC keeps the one it has."""
        if (versions := self._versions()) == self._seen:
            return None
        try:
            configuration = self._load()
        except InputError as error:
            _logger.error("the certificate stays as it was: %s", error)
            return None
        self._seen = versions
        _logger.info("read the certificate again")
        return configuration

    def _versions(self) -> tuple[object, ...]:
        files = (self._settings.cert_file, self._settings.key_file, self._settings.client_ca_file)
        try:
            stats = [os.stat(file) for file in files if file is not None]  # noqa: PTH116 - one call a connection
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        key, chain = _read(self._settings.key_file), _read(self._settings.cert_file)
        assert key is not None
        assert chain is not None
        return grpc.ssl_server_certificate_configuration([(key, chain)], _read(self._settings.client_ca_file))


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    if b"-----BEGIN " not in content:
        raise InputError(f"{file} is no PEM file")
    return content
