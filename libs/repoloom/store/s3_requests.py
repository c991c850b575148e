"""Requests to a bucket that outlast what passes, and whose errors say what to do."""

import errno
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar
from xml.etree.ElementTree import ParseError

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, SSLError

from repoloom.errors import StoreError
from repoloom.store.s3_client import BusyError, Client, Connection, client

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds that a server may fail in a row before a request is given up: a restart or a failover takes less."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 20.0  # seconds
_QUIET = 10.0  # seconds of failures that nobody is told of

_TRANSIENT_CODES = frozenset(
    {
        *("InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "TooManyRequests"),
        "ConditionalRequestConflict",
        "RequestTimeTooSkewed",  # a clock that jumped is set right by those who keep it
        *(
            "BadDigest",
            "IncompleteBody",
            "MalformedXML",
            "XAmzContentSHA256Mismatch",
        ),  # harmed on the way, and so refused
    }
)
_UPLOAD_LOST = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})
_CREDENTIALS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_FULL = "the storage is full; free some space and run again, what is committed is kept"
OVERWRITTEN = "the object was overwritten while it was read; run again"
_WAYS_OUT = {
    "NoSuchBucket": "there is no such bucket; create it, or correct the address",
    "InvalidAccessKeyId": f"the server does not know the access key; {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"the server refuses the credentials; {_CREDENTIALS}",
    "InvalidToken": "the server refuses the session token; renew AWS_SESSION_TOKEN",
    "ExpiredToken": "the session token has expired; renew AWS_SESSION_TOKEN",
    "AccessDenied": f"access is denied; {_CREDENTIALS}, and that they may read, write, list and delete there",
    "RequestTimeTooSkewed": "the clocks of this machine and of the server differ too much; set this machine's",
    "PermanentRedirect": "the bucket lies in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region; set AWS_REGION",
    "PreconditionFailed": OVERWRITTEN,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "EntityTooLarge": "the object is larger than the server takes",
}
logger = logging.getLogger(__name__)

usual_patience: ContextVar[float] = ContextVar("repoloom_s3_patience", default=PATIENCE)
"""That of the stores that are opened with none of their own."""


@contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """Has the stores that are opened in the block give up sooner: somebody waits for the answer, or asks again."""
    before = usual_patience.set(seconds)
    try:
        yield
    finally:
        usual_patience.reset(before)


class UploadLostError(StoreError):
    """The server has forgotten an upload: it was finished, aborted, or failed; another one can be begun."""


class Requests:
    """Requests to one bucket. They may come from any thread, and from forked processes."""

    def __init__(self, connection: Connection, bucket: str, patience: float) -> None:
        self.connection = connection
        self.bucket = bucket
        self._patience = patience

    def do(self, name: str, request: Callable[[Client], T]) -> T:
        """Makes a request about an object until it succeeds, or fails for good.

        Raises FileNotFoundError, UploadLostError and StoreError.
        """
        try:
            return self._persist(lambda: request(client(self.connection)))
        except (BusyError, HTTPError, MinioException, ParseError, ValueError) as error:
            raise self._translate(error, name) from error

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Exponential backoff with full jitter (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)."""
        started = time.monotonic()
        told = False
        for failures in itertools.count():
            try:
                return attempt()
            except (BusyError, HTTPError, MinioException, ParseError, ValueError) as error:
                pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10)))
                failed_for = time.monotonic() - started
                if not _is_transient(error) or failed_for + pause > self._patience:
                    raise
                if failed_for > _QUIET and not told:
                    told = True
                    left = self._patience - failed_for
                    logger.warning("%s: %s; trying for %.0f s more", self.connection.endpoint, _cause(error), left)
            time.sleep(pause)
        raise AssertionError("there is always another attempt")

    def _translate(self, error: Exception, name: str) -> Exception:
        uri = f"s3://{self.bucket}/{name}"
        endpoint = self.connection.endpoint
        code = _code(error) if isinstance(error, S3Error) else ""
        if _is_transient(error):
            way_out = _WAYS_OUT.get(code, "check that the server runs and that AWS_ENDPOINT_URL_S3 is its address")
            cause = f"given up after {self._patience:.0f} s, last {_cause(error)}"
            return StoreError(f"{uri} at {endpoint}: {cause}; {way_out}, then run again")
        if code == "NoSuchKey":
            return FileNotFoundError(errno.ENOENT, "no such object", uri)
        if code in _UPLOAD_LOST:
            return UploadLostError(f"{uri} at {endpoint}: the server forgets the object's upload ({code}); run again")
        if code:
            return StoreError(f"{uri} at {endpoint}: {_WAYS_OUT.get(code, f'the server answers {code}')}")
        if isinstance(error, SSLError):
            return StoreError(
                f"{uri} at {endpoint}: the server's certificate is not trusted; give its authority's in AWS_CA_BUNDLE"
            )
        return StoreError(f"{uri}: {endpoint} does not answer as an S3 server does; check AWS_ENDPOINT_URL_S3")


def _code(error: S3Error) -> str:
    """Its code. rclone's server tells a clock that is behind from a wrong key only by the message."""
    if error.code == "AccessDenied" and "difference between the request time" in (error.message or ""):
        return "RequestTimeTooSkewed"
    return error.code or ""


def _is_transient(error: Exception) -> bool:
    if isinstance(error, S3Error):
        return _code(error) in _TRANSIENT_CODES
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return not isinstance(error, MinioException)  # the rest is a cut connection, a late answer, or half of one


def _cause(error: Exception) -> str:
    """What happened, without addresses of memory and requests."""
    if isinstance(error, BusyError):
        return str(error)
    if isinstance(error, S3Error):
        return f"the server answered {_code(error)}"
    return {
        "NewConnectionError": "the connection was refused",
        "NameResolutionError": "the server's name has no address",
        "ConnectTimeoutError": "the server did not take the connection in time",
        "ReadTimeoutError": "the server did not answer in time",
        "ParseError": "the answer was garbled",
    }.get(type(error).__name__, "the connection was cut")
