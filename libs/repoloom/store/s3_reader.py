"""Reading an object as a stream that goes on where the connection was cut."""

import io
from typing import TYPE_CHECKING

from urllib3.exceptions import ProtocolError
from urllib3.response import BaseHTTPResponse

from repoloom.errors import StoreError
from repoloom.store.s3_client import Client
from repoloom.store.s3_requests import OVERWRITTEN, Requests

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ObjectReader(io.RawIOBase):
    """An object from any position on. Raises FileNotFoundError when made, StoreError when read."""

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self._name = name
        self._position = 0
        self._etag: str | None = None
        self._stream: BaseHTTPResponse | None = None
        self._size = 0
        requests.do(name, self._open)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError("negative seek position")
        if position != self._position:
            self._drop()
            self._position = position
        return position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        into = memoryview(buffer).cast("B")
        if self._position >= self._size or not into:
            return 0
        content = self._requests.do(self._name, lambda client: self._read(client, len(into)))
        into[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, client: Client, most: int) -> bytes:
        try:
            if self._stream is None:
                self._open(client)
            assert self._stream is not None
            content = self._stream.read(most)
            if not content:
                raise ProtocolError("the answer ended before the object did")
        except BaseException:
            self._drop()
            raise
        return content

    def _open(self, client: Client) -> None:
        """Opens a stream at the position, of the same object as the first one."""
        same: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{self._etag}"'} if self._etag else {}
        stream = client.get_object(self._requests.bucket, self._name, offset=self._position, request_headers=same)
        uri = f"s3://{self._requests.bucket}/{self._name}"
        etag = stream.headers.get("etag", "").strip('"')
        if self._etag not in (None, etag):  # not every server heeds If-Match
            stream.close()
            raise StoreError(f"{uri}: {OVERWRITTEN}")
        if self._position and not stream.headers.get("content-range", "").startswith(f"bytes {self._position}-"):
            stream.close()
            raise StoreError(f"{uri}: the server cannot read from the midst of an object, which repoloom needs")
        if self._etag is None:
            self._etag, self._size = etag, int(stream.headers.get("content-length", ""))
        self._stream = stream

    def _drop(self) -> None:
        """Ends the stream; its connection is used again only if the answer was read to its end."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
