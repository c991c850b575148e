"""What only an S3 server may do or lack: conditions, checksums, signatures, and a clock of its own."""

import base64
import functools
import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime

from minio.error import S3Error

from repoloom.store import s3_address
from repoloom.store.probe import Check, Finding, find
from repoloom.store.s3_client import Client, Connection, client
from repoloom.store.s3_requests import PATIENCE, Requests

_MOST_SKEW = 300.0  # seconds; S3 refuses requests that are 900 s off
_CREDENTIALS_REFUSED = ("AccessDenied", "SignatureDoesNotMatch")


def s3_findings(uri: str, scratch: str) -> list[Finding]:
    """Tries an S3 server out below a scratch key that holds no object yet."""
    bucket, prefix = s3_address.parse(uri)
    requests = Requests(Connection.from_environment(), bucket, PATIENCE)
    looks = {
        Check.CONDITIONAL_PUT: (_conditional_put, "conditional"),
        Check.CHECKSUMS: (_checksums, "harmed"),
        Check.SIGNATURES: (_signatures, "object"),
        Check.CLOCK: (_clock, "object"),
    }
    return [
        find(check, functools.partial(look, requests, s3_address.object_name(prefix, f"{scratch}/{key}")))
        for check, (look, key) in looks.items()
    ]


def _conditional_put(requests: Requests, name: str) -> tuple[bool, str]:
    requests.do(name, lambda client: client.put(requests.bucket, name, b"first"))
    condition = {"If-None-Match": "*"}
    written = requests.do(name, lambda client: client.put_carefully(requests.bucket, name, b"second", condition))
    return not written, "If-None-Match: * over an object that is there"


def _checksums(requests: Requests, name: str) -> tuple[bool, str]:
    if requests.do(name, lambda client: client.compares_bodies(requests.bucket, name)):
        return True, "a part of an upload sent with the signed SHA-256 of another"
    wrong = {"Content-MD5": base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()}
    written = requests.do(name, lambda client: client.put_carefully(requests.bucket, name, b"content", wrong))
    return not written, "an object sent with the Content-MD5 of another"


def _signatures(requests: Requests, name: str) -> tuple[bool, str]:
    stranger = replace(requests.connection, secret_key="not the secret key")  # noqa: S106

    def get(_: Client) -> bool:
        try:
            client(stranger).read(requests.bucket, name)
        except S3Error as error:
            return error.code in _CREDENTIALS_REFUSED
        return False

    return requests.do(name, get), "a request signed with a wrong secret"


def _clock(requests: Requests, name: str) -> tuple[bool, str]:
    started = time.monotonic()
    there = requests.do(name, lambda client: client.date(requests.bucket))
    skew = abs((datetime.now(UTC) - there).total_seconds())
    within = 1 + time.monotonic() - started  # the header has whole seconds
    return skew < _MOST_SKEW, f"{max(0.0, skew - within):.0f} s between here and the server"
