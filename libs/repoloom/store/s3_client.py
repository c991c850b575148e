"""The S3 client: endpoint and credentials from the environment, one connection pool for a process and endpoint."""

import base64
import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.datatypes import Part, Upload
from minio.error import S3Error
from minio.helpers import DictType
from urllib3.exceptions import ProtocolError
from urllib3.response import BaseHTTPResponse

from repoloom.errors import InputError, UnsetError

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0  # how long a server may send or take nothing, in the midst of a request
_CONNECTIONS = 16  # kept open; more are opened where more threads want them
_SHA256 = "x-amz-meta-sha256"
"""The header by which an object that was put in one request says what its bytes hash to."""
_SIGNED = "x-amz-content-sha256"
"""The header by which a request says what its body hashes to; what is signed is this header, not the body."""
_SMALL = 1 << 20  # bytes; a second hash of a smaller body costs less than to ask whether it is needed
_LISTS_NO_UPLOADS = ("MethodNotAllowed", "NotImplemented", "NoSuchUpload")  # the last is rclone's, where there is none
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


class BusyError(Exception):
    """The server could not do it now: what it answered says to try again."""


@dataclass(frozen=True)
class Connection:
    """Which server, and as whom."""

    endpoint: str  # http(s)://host[:port]
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> "Connection":
        """As AWS's own tools read it. Raises UnsetError for what is missing, InputError for what is no address."""
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        name = next((name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if os.environ.get(name)), None)
        endpoint = os.environ[name].removesuffix("/") if name else f"https://s3.{region}.amazonaws.com"
        try:
            parts = urlsplit(endpoint)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable or endpoint != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
            raise InputError(f"{name} is no address of a server; set it to http(s)://host:port alone")
        try:
            access_key, secret_key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        except KeyError as error:
            raise UnsetError(f"s3:// addresses need credentials; set {error.args[0]}") from None
        return cls(endpoint, region, access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN"))


class Client(Minio):
    """MinIO's client, with each request that it makes for a write to be made alone, so that each can be repeated alone.

    Every body is sent with its signed SHA-256, and with its Content-MD5 where that is not seen to be enough: what
    arrives otherwise than it was sent is refused by the server.
    """

    _compares: bool | None = None  # what `compares_bodies` found

    def put(self, bucket: str, name: str, body: bytes) -> None:
        """Writes one object in one request."""
        headers = self._digests(bucket, name, body)
        headers[_SHA256] = headers[_SIGNED]
        with _refused_early(lambda: self.page(bucket, name, "", 1)):
            self._put_object(bucket, name, body, headers)

    def read_byte(self, bucket: str, name: str) -> None:
        """Reads the first byte of an object. Raises S3Error where there is no object; an empty one is no error."""
        try:
            with contextlib.closing(self.get_object(bucket, name, length=1)) as response:
                response.read()
        except S3Error as error:
            if error.code != "InvalidRange":
                raise

    def read(self, bucket: str, name: str) -> tuple[bytes, str | None]:
        """An object's bytes, and what they hashed to when they were put."""
        with contextlib.closing(self.get_object(bucket, name)) as response:
            return response.read(), response.headers.get(_SHA256)

    def page(self, bucket: str, prefix: str, after: str, most: int) -> list[str]:
        """The next names in a bucket that begin with a prefix, sorted."""
        listing = self.list_objects(bucket, prefix=prefix, recursive=True, start_after=after or None)
        return [found.object_name or "" for found in itertools.islice(listing, most)]

    def put_carefully(self, bucket: str, name: str, body: bytes, headers: dict[str, str]) -> bool:
        """Writes an object with headers of one's own. False where the server finds that a condition or digest fails."""
        try:
            self._put_object(bucket, name, body, dict(headers))
        except S3Error as error:
            if error.code in ("BadDigest", "PreconditionFailed"):
                return False
            raise
        return True

    def date(self, bucket: str) -> datetime:
        """The server's time, to the second."""
        return parsedate_to_datetime(self._execute("GET", bucket, query_params={"location": ""}).headers["date"])

    def begin_upload(self, bucket: str, name: str) -> str:
        """Begins a multipart upload and returns its id."""
        return self._create_multipart_upload(bucket, name, {})

    def put_part(self, bucket: str, name: str, upload: str, number: int, body: bytes) -> Part:
        """Uploads one part; numbers begin at 1."""
        headers = self._digests(bucket, name, body)
        with _refused_early(lambda: self._list_parts(bucket, name, upload, max_parts=1)):
            return Part(number, self._upload_part(bucket, name, body, headers, upload, number))

    def finish_upload(self, bucket: str, name: str, upload: str, parts: Sequence[Part]) -> None:
        """Makes an object of the parts. Raises BusyError where a 200 answer holds an error, as S3's may."""
        if not self._complete_multipart_upload(bucket, name, upload, list(parts)).etag:
            raise BusyError("the server could not complete the upload")

    def abort_upload(self, bucket: str, name: str, upload: str) -> None:
        """Removes an upload and its parts."""
        self._abort_multipart_upload(bucket, name, upload)

    def uploads(self, bucket: str, prefix: str) -> Iterator[Upload]:
        """The unfinished uploads below a prefix; none where the server does not list them."""
        marker: str | None = None
        while True:
            try:
                page = self._list_multipart_uploads(bucket, prefix=prefix, key_marker=marker)
            except S3Error as error:
                if error.code in _LISTS_NO_UPLOADS:
                    return
                raise
            yield from page.uploads
            marker = page.next_key_marker
            if not page.is_truncated or not marker:
                return

    def compares_bodies(self, bucket: str, name: str) -> bool:
        """Whether the server compares a body with the SHA-256 that its request is signed for; rclone's does not.

        It is sent a part of an upload, signed for another body. Nobody sees any of it but who lists uploads.
        """
        upload = self.begin_upload(bucket, name)
        try:
            self._upload_part(bucket, name, b"one", {_SIGNED: hashlib.sha256(b"another").hexdigest()}, upload, 1)
        except S3Error as error:
            return error.code == "XAmzContentSHA256Mismatch"
        finally:
            self.abort_upload(bucket, name, upload)
        return False

    def _digests(self, bucket: str, name: str, body: bytes) -> DictType:
        """The headers by which the server knows a body that was harmed on the way."""
        headers: DictType = {_SIGNED: hashlib.sha256(body).hexdigest()}
        if len(body) >= _SMALL and self._compares is None:
            self._compares = self.compares_bodies(bucket, name)
        if len(body) < _SMALL or not self._compares:
            headers["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        return headers

    def _build_headers(
        self, host: str, headers: DictType | None = None, body: bytes | None = None, creds: Credentials | None = None
    ) -> tuple[DictType, datetime]:
        """The headers that are signed. Where those given say what the body hashes to, it is not hashed again."""
        known = (headers or {}).get(_SIGNED)
        if known is None or body is None:
            return super()._build_headers(host, headers, body, creds)
        built, date = super()._build_headers(host, headers, None, creds)
        return {**built, _SIGNED: known, "Content-Length": str(len(body))}, date


def client(connection: Connection) -> Client:
    """The client of a connection in this process; threads may share it."""
    return _client(connection, os.getpid())  # a forked child must not write into its parent's connections


@functools.lru_cache(maxsize=16)
def _client(connection: Connection, process: int) -> Client:  # noqa: ARG001 - part of the cache's key
    parts = urlsplit(connection.endpoint)
    try:
        return Client(
            parts.netloc,
            access_key=connection.access_key,
            secret_key=connection.secret_key,
            session_token=connection.session_token,
            secure=parts.scheme == "https",
            region=connection.region,
            http_client=_Http(
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
                maxsize=_CONNECTIONS,
                cert_reqs="CERT_REQUIRED",
                ca_certs=os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or certifi.where(),
            ),
        )
    except ValueError as error:
        raise InputError(f"{connection.endpoint} in {connection.region} is no S3 endpoint: {error}") from error


class _Http(urllib3.PoolManager):
    """Connections that repeat nothing and follow no redirect: who knows what a request is for decides on that."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401, ARG002
        response = super().urlopen(method, url, redirect=False, retries=False, **options)
        if response.status in _TRANSIENT_STATUS:
            response.close()
            raise BusyError(f"the server answered {response.status} {response.reason or ''}".rstrip())
        if "text/xml" in response.headers.get("content-type", ""):
            response.headers["content-type"] = "application/xml"  # the one type whose errors MinIO's client reads
        return response


@contextlib.contextmanager
def _refused_early(ask: Callable[[], object]) -> Iterator[None]:
    """Where the connection is cut while a body is sent, asks for the reason in a request without a body.

    A server that refuses a request need not read its body first, and then its answer is lost with the connection.
    """
    try:
        yield
    except ProtocolError:
        ask()
        raise
