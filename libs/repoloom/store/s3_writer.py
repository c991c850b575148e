"""Writing an object: kept here until it is whole, then sent, in one request or in parts."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, BinaryIO, cast

from minio.datatypes import Part

from repoloom.errors import StoreError
from repoloom.heartbeat import Heartbeat
from repoloom.store import Naming, named
from repoloom.store.s3_requests import Requests, UploadLostError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PART_BYTES = 16 << 20
"""What is sent in one request, and so what an object may have to be sent in one and to be kept in memory."""
_MOST_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MEMORY = 64 << 20  # of the parts that are sent at the same time, unless one alone is larger
_UPLOADS = 5  # how often an upload is begun that the server forgets


@contextlib.contextmanager
def writer(requests: Requests, naming: Naming, heartbeat: Heartbeat) -> Iterator[BinaryIO]:
    """A file whose content becomes the object when the block ends without an error. Raises StoreError.

    `heartbeat` beats for each part that has arrived: a server that fails has it rest.
    """
    spool = _Spool(max_size=PART_BYTES, prefix="repoloom-object-")
    try:
        yield cast(BinaryIO, spool)
        spool.flush()
        size, name = spool.seek(0, os.SEEK_END), named(naming)
        if size <= PART_BYTES:
            spool.seek(0)
            body = spool.read()
            requests.do(name, lambda client: client.put(requests.bucket, name, body))
            heartbeat()
        else:
            _send_parts(requests, name, spool.fileno(), size, heartbeat)
    finally:
        with contextlib.suppress(OSError):  # what it could not keep was said when it was written
            spool.close()


def part_bytes(size: int) -> int:
    """The size of the parts of an object: whole MiB, so that no object has more parts than S3 takes."""
    return max(PART_BYTES, -(-size // (_MOST_PARTS << 20)) << 20)


def _send_parts(requests: Requests, name: str, descriptor: int, size: int, heartbeat: Heartbeat) -> None:
    for _ in range(_UPLOADS - 1):
        with contextlib.suppress(UploadLostError):  # as where the answer was lost that said it was finished
            return _send_upload(requests, name, descriptor, size, heartbeat)
    return _send_upload(requests, name, descriptor, size, heartbeat)


def _send_upload(requests: Requests, name: str, descriptor: int, size: int, heartbeat: Heartbeat) -> None:
    bucket = requests.bucket
    step = part_bytes(size)
    upload = requests.do(name, lambda client: client.begin_upload(bucket, name))

    def send(offset: int) -> Part:
        body = os.pread(descriptor, step, offset)
        number = offset // step + 1
        return requests.do(name, lambda client: client.put_part(bucket, name, upload, number, body))

    try:
        threads = ThreadPoolExecutor(max(1, _MEMORY // step))
        try:
            sending = [threads.submit(send, offset) for offset in range(0, size, step)]
            for sent in as_completed(sending):
                sent.result()
                heartbeat()
        finally:
            threads.shutdown(cancel_futures=True)
        parts = [sent.result() for sent in sending]
        requests.do(name, lambda client: client.finish_upload(bucket, name, upload, parts))
        heartbeat()
    except BaseException:
        with contextlib.suppress(StoreError, FileNotFoundError):  # what cannot be aborted now is swept later
            requests.do(name, lambda client: client.abort_upload(bucket, name, upload))
        raise


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    """An object while it is written: in memory, and on disk where it is large."""

    def write(self, content: "ReadableBuffer") -> int:
        with _scratch_errors():
            if self.tell() + memoryview(content).nbytes > PART_BYTES:
                self.rollover()  # before, not after, or all of a long write would be in memory first
            return super().write(content)

    def flush(self) -> None:
        with _scratch_errors():
            super().flush()


@contextlib.contextmanager
def _scratch_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot keep an object in {tempfile.gettempdir()} until it is sent: {error.strerror}; free some space "
            "there, or set TMPDIR to a larger folder"
        ) from error
