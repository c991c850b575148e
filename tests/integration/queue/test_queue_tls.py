"""Redis behind TLS: who has no certificate of the right authority is not let in, on either side."""

import contextlib
import datetime
import ipaddress
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fleet import PASSWORD, Fleet

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Plan
from repoloom.engine.pool import Limits
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.pool import CeleryPool
from repoloom.engine.task import Commit
from repoloom.errors import InputError


@dataclass
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {self.folder.name}")])
        self._write("ca", self.key, self._certificate(self.name, self.key, authority=True))

    def issue(self, name: str) -> None:
        """Writes <name>.pem and <name>.key for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, key, self._certificate(subject, key, authority=False))

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if not authority:
            local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([local]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem = serialization.Encoding.PEM
        form = serialization.PrivateFormat.PKCS8
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


@contextlib.contextmanager
def tls_before(port: int, authority: Authority) -> Iterator[int]:
    """A port that takes TLS with client certificates, and hands on what is inside."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.path("server.pem"), authority.path("server.key"))
    context.load_verify_locations(authority.path("ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=_pass_on, args=(accepted, context, port), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pass_on(accepted: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(accepted)
        outer = stack.enter_context(context.wrap_socket(accepted, server_side=True))
        inner = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(outer, selectors.EVENT_READ, inner)
        selector.register(inner, selectors.EVENT_READ, outer)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                content = source.recv(1 << 16)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    content += source.recv(1 << 16)
                if not content:
                    return
                key.data.sendall(content)


def test_pool_and_workers_reach_redis_through_tls_with_certificates_and_not_without(
    fleet: Fleet, tmp_path: Path
) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    for name in ("server", "worker", "pool"):
        ours.issue(name)
    others.issue("pool")
    with tls_before(fleet.redis.port, ours) as port:
        url = {"REPOLOOM_REDIS_URL": f"rediss://127.0.0.1:{port}/0", "REPOLOOM_REDIS_PASSWORD": PASSWORD}

        def way(name: str, client: Authority, server: Authority = ours) -> dict[str, str]:
            certificate = {
                "REPOLOOM_REDIS_CERT": client.path(f"{name}.pem"),
                "REPOLOOM_REDIS_KEY": client.path(f"{name}.key"),
            }
            return {**url, "REPOLOOM_REDIS_CA": server.path("ca.pem"), **certificate}

        fleet.start(**way("worker", ours))
        step = load_step("probe.make")
        plan = Plan(step(params_model(step)()), {}, str(fleet.folder / "made"), 1)
        with CeleryPool(Broker.from_environment(way("pool", ours)), Limits(seconds=20), fleet.pace) as pool:
            [outcome] = pool.run(map(plan.task, plan))
        assert isinstance(outcome.result, Commit)

        for wrong in (
            way("pool", others),
            way("pool", ours, server=others),
            {**url, "REPOLOOM_REDIS_CA": ours.path("ca.pem")},
        ):
            with pytest.raises(InputError, match=r"^rediss://127\.0\.0\.1:\d+/0 does not answer"):
                Broker.from_environment(wrong).check()
