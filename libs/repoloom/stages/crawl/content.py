"""Content that is no text of a project: binary files, and the pointers that stand in for them."""

from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.limits import Limits

_HEAD_BYTES = 8 << 10  # git looks at its first 8000 bytes for a NUL (xdiff-interface.c)
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
"""UTF-16 in both orders and big-endian UTF-32; little-endian UTF-32 begins as UTF-16 does."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_POINTER_BYTES = 1024  # a pointer is smaller (git-lfs spec.md)

BINARY_EXTENSIONS = frozenset(
    """
    7z apk avi bmp bz2 class crx dll dmg docx dylib eot exe flac gif gz heic icns ico jar jpeg jpg lz4 lzma mov mp3 mp4
    mpeg npy npz ogg otf parquet pdf png pptx psd pyc pyd pyo rar sqlite sqlite3 swf tar tgz tif tiff ttf wasm wav webm
    webp whl woff woff2 xlsx xz zip zst
    """.split()  # noqa: SIM905 - a string a line would be a page
)
"""Those of formats that may hold no NUL in their first bytes, and whose names no text has."""


def refuse(path: str, size: int, limits: Limits) -> Refusal | None:
    """Why a file is not even read: its name says that it is binary, or it is too large."""
    extension = path[path.rfind("/") + 1 :].rpartition(".")[2].lower()
    if extension in BINARY_EXTENSIONS and "." in path:
        return Refusal("binary", f".{extension}")
    if size > limits.max_file_bytes:
        return Refusal("max_file_bytes", value=size, threshold=limits.max_file_bytes)
    return None


def refuse_content(content: bytes) -> Refusal | None:
    """Why a file that was read is not stored."""
    at = content.find(b"\0", 0, _HEAD_BYTES)
    if at >= 0 and not content.startswith(_BYTE_ORDER_MARKS):
        return Refusal("binary", f"NUL at byte {at}")
    if len(content) < _LFS_POINTER_BYTES and content.startswith(_LFS_POINTER):
        return Refusal("lfs_pointer")
    return None
