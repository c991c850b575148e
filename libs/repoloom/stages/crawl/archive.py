"""The files of a tar or zip archive, read member by member; nothing is ever extracted to where its names say.

A compressed tar is first unpacked into one scratch file, whose size and ratio are watched: so a bomb ends early, the
folder that wraps the whole archive is known before the first file is passed on, and a file nobody wants is never read.
"""

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import zstandard

from repoloom.stages.crawl.entry import Entry, Refusal
from repoloom.stages.crawl.errors import UnreadableSourceError
from repoloom.stages.crawl.limits import Budget
from repoloom.stages.crawl.paths import normalise

_CHUNK = 1 << 20
_HEADER_BYTES = 1 << 20  # no honest header is larger: names are limited to 4096 bytes by Linux
_DIRECTORY_BYTES = 256  # a file, in a zip's central directory: 46 bytes, its name and extra fields
_ZSTD_WINDOW = 128 << 20  # bytes; what `zstd -d` allows (RFC 8878, 3.1.1.1.2 asks for 8 MiB at least)
_ENCRYPTED = 0x1  # general purpose flags of a zip's member (APPNOTE 4.4.4)
_UTF8_NAME = 0x800

_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, struct.error, EOFError,
    ArithmeticError, LookupError, ValueError, NotImplementedError, RecursionError, MemoryError,
)  # fmt: skip
"""What Python's readers raise on bytes that are no archive."""


@contextmanager
def damage_reported(what: str) -> Iterator[None]:
    """Turns whatever the readers of archives raise on damaged bytes into UnreadableSourceError."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the machine's, such as a full disk; those of bz2, gzip and seeking to nonsense have no such number
        raise UnreadableSourceError(f"{what}: damaged: {str(error) or type(error).__name__}") from error


def entries(archive: Path, scratch: Path, budget: Budget, under: bytes = b"") -> Iterator[Entry]:
    """The files of an archive in its own order, without the folder that wraps them all; their paths begin with `under`.

    Raises UnreadableSourceError and RepositoryTooLargeError.
    """
    with damage_reported(budget.subject):
        budget.check_bytes(archive.stat().st_size)
        with archive.open("rb") as file:
            magic = file.read(6)
        if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from _zip_entries(archive, budget, under)
        elif magic.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")):
            unpacked = scratch / "unpacked.tar"
            try:
                _unpack(archive, unpacked, budget)
                yield from _tar_entries(unpacked, budget, under)
            finally:
                unpacked.unlink(missing_ok=True)
        else:
            yield from _tar_entries(archive, budget, under)


@contextmanager
def decompressed(path: Path) -> Iterator[io.BufferedIOBase]:
    """The content of a file that may be compressed, as its first bytes say."""
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            yield gzip.GzipFile(fileobj=file)
        elif magic.startswith(b"BZh"):
            yield bz2.BZ2File(file)
        elif magic.startswith(b"\xfd7zXZ\0"):
            yield lzma.LZMAFile(file)  # noqa: SIM115 - `file` is what is open, and it is closed here
        elif magic.startswith(b"\x28\xb5\x2f\xfd"):
            decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
            yield io.BufferedReader(decompressor.stream_reader(file, read_across_frames=True))
        else:
            yield file


def _unpack(archive: Path, into: Path, budget: Budget) -> None:
    packed, size = archive.stat().st_size, 0
    with decompressed(archive) as source, into.open("wb") as target:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            budget.check_unpacked(size, packed)
            target.write(chunk)


class _Guarded(io.FileIO):
    """A file that is not read in pieces larger than `most`, whatever size a header asks for."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size == -1:  # zipfile's way to read the end
            size = os.fstat(self.fileno()).st_size - self.tell()
        if not 0 <= size <= self._most:
            raise ValueError("a header says that it is larger than any header is")
        return super().read(size) or b""


def _tar_entries(path: Path, budget: Budget, under: bytes) -> Iterator[Entry]:
    with _Guarded(path, _HEADER_BYTES) as file:
        members = list(_tar_members(file, budget))
    wrapper = _wrapper(name for name, _, _ in members)
    with path.open("rb") as content:
        for name, size, place in members:
            found = place if isinstance(place, Refusal) else partial(_read_at, content, place, size, budget.subject)
            yield Entry(_placed(name, wrapper, under), size, found)


def _tar_members(file: _Guarded, budget: Budget) -> Iterator[tuple[bytes, int, int | Refusal]]:
    """(name, size, offset of the content or why it has none) of every member that is no folder."""
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        seen, end = 0, -1
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined] # or tarfile would hold them all
            seen += 1
            budget.check_files(seen)
            if member.size < 0 or tar.offset <= end:
                raise tarfile.ReadError("a member has a negative size")
            end = tar.offset
            if not member.isdir():
                yield normalise(_raw(member.name)), *_tar_content(member)
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"what stands at byte {tar.offset} is no member's header")


def _tar_content(member: tarfile.TarInfo) -> tuple[int, int | Refusal]:
    if member.islnk() or member.issym():
        return 0, Refusal("link", f"to {_raw(member.linkname)[:256]!r}")
    if not member.isreg() or member.issparse():
        return 0, Refusal("special_file", "a sparse file" if member.issparse() else f"tar type {member.type!r}")
    return member.size, member.offset_data


def _read_at(file: BinaryIO, offset: int, size: int, subject: str) -> bytes:
    file.seek(offset)
    content = file.read(size)
    if len(content) < size:
        raise UnreadableSourceError(f"{subject}: damaged: the archive ends in the middle of a file")
    return content


def _zip_entries(path: Path, budget: Budget, under: bytes) -> Iterator[Entry]:
    with (
        _Guarded(path, max(_HEADER_BYTES, budget.limits.max_files * _DIRECTORY_BYTES)) as file,
        zipfile.ZipFile(file) as archive,
    ):
        members = [(_zip_name(info), info) for info in archive.infolist()]
        budget.check_files(len(members))
        budget.check_unpacked(sum(info.file_size for _, info in members), os.fstat(file.fileno()).st_size)
        members = [(name, info) for name, info in members if not name.endswith(b"/")]
        wrapper = _wrapper(name for name, _ in members)
        for name, info in members:
            yield Entry(_placed(name, wrapper, under), info.file_size, _zip_content(archive, info, budget.subject))


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, subject: str) -> "partial[bytes] | Refusal":
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return Refusal("link")
    if kind not in (0, stat.S_IFREG):
        return Refusal("special_file", f"mode {kind:o}")
    if info.flag_bits & _ENCRYPTED:
        return Refusal("special_file", "encrypted")
    return partial(_read_member, archive, info, subject)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, subject: str) -> bytes:
    with damage_reported(subject), archive.open(info) as member:
        return member.read(info.file_size)


def _zip_name(info: zipfile.ZipInfo) -> bytes:
    name = info.filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437", "surrogatepass")
    return normalise(name) + (b"/" if name.endswith(b"/") else b"")


def _placed(name: bytes, wrapper: int, under: bytes) -> bytes:
    return name if name.startswith(b"/") else under + name[wrapper:]


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _wrapper(names: Iterable[bytes]) -> int:
    """The length of the folder, with its slash, that all files of an archive lie in; 0 where there is none."""
    wrapper = None
    for name in names:
        top, slash, _ = name.partition(b"/")
        if not slash or top in (b"", b"..") or (wrapper is not None and top != wrapper):
            return 0
        wrapper = top
    return 0 if wrapper is None else len(wrapper) + 1
