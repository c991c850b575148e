"""TLS over HTTP, as repoloom.rpc.security has it over gRPC: the same files, and what a client's certificate says."""

import logging
import os
import ssl
from collections.abc import Mapping, Sequence

from repoloom.errors import InputError
from repoloom.rpc.settings import ServerSettings

_logger = logging.getLogger(__name__)
CERTIFICATE = "repoloom.certificate"
"""Where a request's scope holds what its connection's certificate says, named as gRPC names it."""


def server_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """The context of a server, which reads its certificate again when it changes; None for one without TLS.

    The connection that finds it changed is the last with the former. Raises InputError.
    """
    cert, key = settings.cert_file, settings.key_file
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        if settings.client_ca_file:
            context.load_verify_locations(settings.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"cannot read {cert}, {key} or the clients' authority: {error}") from error

    def version() -> tuple[int, ...] | None:
        try:
            return tuple(os.stat(file).st_mtime_ns for file in (cert, key))  # noqa: PTH116 - one call a connection
        except OSError:
            return None

    seen = version()

    def look(*_: object) -> None:
        nonlocal seen
        if (now := version()) == seen:
            return
        seen = now
        try:
            context.load_cert_chain(cert, key)
            _logger.info("read the certificate again")
        except (OSError, ssl.SSLError) as error:
            _logger.error("the certificate stays as it was: %s", error)

    context.sni_callback = look
    return context


def certificate_names(certificate: Mapping[str, Sequence[Sequence[object]]]) -> dict[str, list[bytes]]:
    """What a verified certificate (as ssl.getpeercert gives it) is called, in gRPC's words."""
    common = [str(pair[1]) for part in certificate.get("subject", ()) for pair in part if pair[0] == "commonName"]  # type: ignore[index]
    alternative = [str(value) for _, value in certificate.get("subjectAltName", ())]
    named = {"x509_subject_alternative_name": alternative, "x509_common_name": common}
    return {kind: [name.encode() for name in names] for kind, names in named.items() if names}
