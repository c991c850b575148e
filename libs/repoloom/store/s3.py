"""A store in an S3 bucket: objects appear whole because S3 has it so, and requests outlast what passes."""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from repoloom.errors import CorruptDataError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Naming, s3_address
from repoloom.store.s3_client import Connection
from repoloom.store.s3_reader import ObjectReader
from repoloom.store.s3_requests import Requests, UploadLostError, usual_patience
from repoloom.store.s3_writer import writer

ABANDONED = timedelta(days=1)
"""How old an unfinished upload is that no living writer still works on: each of its requests has only PATIENCE."""
_READ_AHEAD = 1 << 20
_PAGE = 1000  # keys, the most that S3 lists in one answer
_READINGS = 3  # how often a small object is read whose bytes are not what was sent


class S3Store:
    """Objects below a prefix of a bucket, on the server that the environment names."""

    def __init__(self, uri: str, patience: float | None = None) -> None:
        """`patience`: seconds that the server may fail in a row; by default those of the context. Raises InputError."""
        bucket, self._prefix = s3_address.parse(uri)
        self.uri = f"s3://{bucket}/{self._prefix}".removesuffix("/")
        patience = usual_patience.get() if patience is None else patience
        self._requests = Requests(Connection.from_environment(), bucket, patience)

    def create(self, key: Naming, heartbeat: Heartbeat = unheard) -> AbstractContextManager[BinaryIO]:
        name = self._name(key) if isinstance(key, str) else lambda: self._name(key())
        return writer(self._requests, name, heartbeat)

    def open(self, key: str) -> io.BufferedIOBase:
        return io.BufferedReader(ObjectReader(self._requests, self._name(key)), _READ_AHEAD)

    def read(self, key: str) -> bytes:
        name = self._name(key)
        for _ in range(_READINGS):
            content, digest = self._requests.do(name, lambda client: client.read(self._requests.bucket, name))
            if digest in (None, hashlib.sha256(content).hexdigest()):
                return content
        raise CorruptDataError(f"{self.uri}/{key} is corrupt: its bytes are not those that were written")

    def exists(self, key: str) -> bool:
        # Of HEAD, which is the usual way, no answer tells a bucket that is missing from an object.
        name = self._name(key)
        try:
            self._requests.do(name, lambda client: client.read_byte(self._requests.bucket, name))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        below = self._name(prefix) + "/"
        last = ""
        while True:
            page = self._page(below, last)
            for name in page:
                key = name[len(self._prefix) + 1 :] if self._prefix else name
                if name.startswith(below) and s3_address.is_key(key):  # other programs' objects may lie there too
                    yield key
            if len(page) < _PAGE:
                return
            last = page[-1]

    def delete(self, key: str) -> None:
        name = self._name(key)
        with contextlib.suppress(FileNotFoundError):
            self._requests.do(name, lambda client: client.remove_object(self._requests.bucket, name))

    def sweep(self) -> None:
        """Aborts uploads whose writers died; where the server does not list them, it has a rule of its own for them."""
        below = f"{self._prefix}/" if self._prefix else ""
        bucket = self._requests.bucket
        oldest = datetime.now(UTC) - ABANDONED
        for upload in self._requests.do(below, lambda client: list(client.uploads(bucket, below))):
            begun, identifier, name = upload.initiated_time, upload.upload_id, upload.object_name
            if name.startswith(below) and identifier and begun is not None and begun < oldest:
                with contextlib.suppress(FileNotFoundError, UploadLostError):  # another run may have swept it
                    self._abort(name, identifier)

    def _page(self, below: str, after: str) -> Sequence[str]:
        return self._requests.do(below, lambda client: client.page(self._requests.bucket, below, after, _PAGE))

    def _abort(self, name: str, upload: str) -> None:
        self._requests.do(name, lambda client: client.abort_upload(self._requests.bucket, name, upload))

    def _name(self, key: str) -> str:
        return s3_address.object_name(self._prefix, key)
