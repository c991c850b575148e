"""The services: whether each answers, takes our token, and shows a certificate that holds for a while."""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping

from repoloom.client import CLIENTS
from repoloom.errors import RepoloomError
from repoloom.rpc.settings import ChannelSettings, split_address
from repoloom.up.doctor.finding import Finding
from repoloom.up.find import health, services_at
from repoloom.up.surroundings import SERVICES

_DAYS_LEFT = 14
_SECONDS = 10.0


def service_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """What can be seen of the services of an environment."""
    words = [word for word in environment.get(SERVICES, "").split(",") if word.strip()]
    if not words:
        way_out = f"start some with `repoloom up`, or set {SERVICES} to filter=host:port,...; a run does not need them"
        yield Finding.warn("services", "none are known here", way_out)
    services: dict[str, ChannelSettings] = {}
    for word in words:
        try:
            services.update(services_at(word, environment))
        except RepoloomError as error:
            way_out = f"start it again, or mend {SERVICES}, which is to be filter=host:port,..."
            yield Finding.fail(f"services at {word.strip()}", str(error), way_out)
    for name, settings in services.items():
        yield _service(name, settings)
        if settings.secure:
            yield _certificate(name, settings)


def _service(name: str, settings: ChannelSettings) -> Finding:
    subject = f"service {name}"
    try:
        if not health(name, settings, _SECONDS):
            return Finding.fail(subject, f"{settings.target} answers, and does not serve", "wait, or see its log")
    except RepoloomError as error:
        return Finding.fail(subject, str(error), "start it again, and see its log")
    try:
        with CLIENTS[name](settings) as client:
            next(client.operations(), None)
    except RepoloomError as error:
        way_out = "give a token that its callers file knows: REPOLOOM_CLIENT_TOKEN_FILE; `repoloom token` makes one"
        return Finding.fail(subject, f"{settings.target} refuses: {error}", way_out)
    return Finding.ok(subject, f"{settings.target} serves and takes our token")


def _certificate(name: str, settings: ChannelSettings) -> Finding:
    """The server's certificate, as far as the handshake shows it."""
    subject = f"certificate of {name}"
    host, port = split_address(settings.target)
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.set_alpn_protocols(["h2"])
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        with (
            socket.create_connection((host, int(port)), _SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    except (OSError, ValueError) as error:
        return Finding.fail(subject, f"the handshake fails: {error}", "renew it, or set REPOLOOM_CLIENT_CA_FILE")
    days = (ends - time.time()) / 86_400
    if days < _DAYS_LEFT:
        return Finding.warn(subject, f"it ends in {days:.0f} days", "renew it; servers read the new one by themselves")
    return Finding.ok(subject, f"it holds for {days:.0f} days")
