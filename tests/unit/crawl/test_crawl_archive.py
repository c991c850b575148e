import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoloom.errors import RepoloomError
from repoloom.stages.crawl import archive
from repoloom.stages.crawl.entry import Refusal
from repoloom.stages.crawl.errors import RepositoryTooLargeError, UnreadableSourceError
from repoloom.stages.crawl.limits import Budget, Limits

TYPES = {
    "symbolic": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "character": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
}


def a_tar(files: list[tuple[str | bytes, bytes]], **members: bytes) -> bytes:
    """A tar archive of these files in order, then of members of these types."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, kind in members.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return packed.getvalue()


def a_zip(files: list[tuple[str, bytes]], modes: dict[str, int] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, content)
    return packed.getvalue()


@pytest.fixture
def unpack(crawl: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(content: bytes, limits: Limits | None = None) -> Any:
        path = tmp_path / "given.archive"
        path.write_bytes(content)
        return crawl(limits, kind="archive", path=str(path))

    return run


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_the_files_of_a_tar_come_out_as_they_are(unpack: Any, compress: Callable[[bytes], bytes]) -> None:
    files = [("x-1.0/src/a.py", b"import b\n"), ("x-1.0/README", b"# x\n"), ("x-1.0/empty", b"")]
    found = unpack(compress(a_tar(files)))
    assert found.contents == {"src/a.py": b"import b\n", "README": b"# x\n", "empty": b""}
    assert not found.dropped
    assert found.repositories[0]["files"] == 3


def test_the_files_of_a_zip_come_out_as_they_are(unpack: Any) -> None:
    found = unpack(a_zip([("x/", b""), ("x/a.py", b"a\n"), ("x/ä.py", b"b\n")]))
    assert found.contents == {"a.py": b"a\n", "ä.py": b"b\n"}


def test_an_archive_without_one_folder_around_it_keeps_its_folders(unpack: Any) -> None:
    assert set(unpack(a_tar([("a/x", b"1\n"), ("b/x", b"2\n")])).files) == {"a/x", "b/x"}
    assert set(unpack(a_tar([("a/x", b"1\n"), ("a", b"2\n")])).files) == {"a/x", "a"}


def test_a_blob_has_the_name_that_git_gives_it(unpack: Any) -> None:
    row = unpack(a_tar([("x/hello", b"hello\n")])).files["hello"]
    assert row["blob"] == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert row["sha256"] == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.mark.parametrize("pack", [a_tar, a_zip])
def test_paths_that_leave_the_archive_are_dropped(unpack: Any, pack: Any) -> None:
    found = unpack(
        pack(
            [
                ("top/ok.c", b"int x;\n"),
                ("top/../../evil", b"x"),
                ("/etc/evil", b"x"),
                ("../evil", b"x"),
                ("top/.git/hooks/a", b"x"),
            ]
        )
    )
    assert found.contents == {"top/ok.c": b"int x;\n"}
    assert set(found.rules.values()) == {"unsafe_path", "git_folder"}
    assert len(found.dropped) == 4


def test_links_devices_and_pipes_of_a_tar_are_dropped(unpack: Any) -> None:
    found = unpack(a_tar([("top/ok.c", b"int x;\n")], **TYPES))
    assert found.contents == {"ok.c": b"int x;\n"}
    assert found.rules == {
        "symbolic": "link",
        "hard": "link",
        "fifo": "special_file",
        "character": "special_file",
        "block": "special_file",
    }


def test_links_and_pipes_of_a_zip_are_dropped(unpack: Any) -> None:
    modes = {"t/link": stat.S_IFLNK | 0o777, "t/pipe": stat.S_IFIFO | 0o644}
    found = unpack(a_zip([("t/ok", b"x\n"), ("t/link", b"/etc/passwd"), ("t/pipe", b"")], modes))
    assert set(found.files) == {"ok"}
    assert found.rules == {"link": "link", "pipe": "special_file"}


@pytest.mark.parametrize("pack", [a_tar, a_zip])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_files_with_one_path_the_first_is_taken(unpack: Any, pack: Any) -> None:
    found = unpack(pack([("t/a", b"first\n"), ("t/a", b"second\n"), ("t/./a", b"third\n")]))
    assert found.contents == {"a": b"first\n"}
    assert [row["rule"] for row in found.dropped] == ["duplicate_path", "duplicate_path"]


def test_names_that_are_no_text_are_escaped(unpack: Any) -> None:
    found = unpack(a_tar([(b"t/latin-\xe9", b"1\n"), (b"t/two\nlines", b"2\n"), (b"t/esc\x1b[31m", b"3\n")]))
    assert set(found.files) == {"latin-\\xe9", "two\\x0alines", "esc\\x1b[31m"}


def test_binary_files_and_pointers_are_dropped_and_utf16_is_kept(unpack: Any) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    text = "wide\n".encode("utf-16")
    found = unpack(
        a_tar(
            [("t/a.png", b"text"), ("t/b", b"a\0b"), ("t/c", pointer), ("t/d", text), ("t/late", b"a" * 9000 + b"\0")]
        )
    )
    assert found.rules == {"a.png": "binary", "b": "binary", "c": "lfs_pointer"}
    assert set(found.files) == {"d", "late"}


def test_a_file_over_the_limit_is_dropped_with_what_was_measured(unpack: Any) -> None:
    found = unpack(a_tar([("t/a", b"x" * 11), ("t/b", b"x" * 10)]), Limits(max_file_bytes=10))
    assert set(found.files) == {"b"}
    assert [(row["rule"], row["value"], row["threshold"], row["size"]) for row in found.dropped] == [
        ("max_file_bytes", 11, 10, 11)
    ]


def test_an_archive_inside_an_archive_stays_packed(unpack: Any) -> None:
    inner = gzip.compress(a_tar([("t/a", b"x\n")]))
    assert unpack(a_tar([("t/inner.tgz", inner), ("t/quine", inner)])).rules == {
        "inner.tgz": "binary",
        "quine": "binary",
    }


def test_a_repository_without_files_is_still_a_repository(unpack: Any) -> None:
    for content in (a_tar([]), a_zip([])):
        found = unpack(content)
        assert not found.rows
        assert not found.dropped
        assert found.repositories[0]["files"] == 0


def zeros(size: int) -> bytes:
    return a_tar([("t/zeros", bytes(size))])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_bomb_ends_at_the_ratio(unpack: Any, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RepositoryTooLargeError, match="max_ratio"):
        unpack(compress(zeros(10 << 20)))


def test_a_zip_bomb_ends_before_anything_is_unpacked(unpack: Any) -> None:
    with pytest.raises(RepositoryTooLargeError, match="max_ratio"):
        unpack(a_zip([(f"t/{i}", bytes(2 << 20)) for i in range(8)]))


def test_a_zip_whose_members_overlap_is_counted_by_what_it_claims(unpack: Any) -> None:
    packed = bytearray(a_zip([("t/a", b"x" * 100)]))
    size = packed.rindex(b"PK\x01\x02") + 24
    packed[size : size + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(RepositoryTooLargeError, match="max_repository_bytes"):
        unpack(bytes(packed))


@pytest.mark.parametrize("pack", [a_tar, a_zip])
def test_too_many_files_or_bytes_are_an_error_that_names_the_limit(unpack: Any, pack: Any) -> None:
    content = pack([(f"t/{i}", b"some text\n" * 20) for i in range(50)])
    with pytest.raises(RepositoryTooLargeError, match=r"archive .*/given\.archive has more than 49 files; max_files"):
        unpack(content, Limits(max_files=49))
    with pytest.raises(RepositoryTooLargeError, match="max_repository_bytes"):
        unpack(content, Limits(max_repository_bytes=9_000))


def test_tens_of_thousands_of_tiny_files_are_taken(unpack: Any) -> None:
    found = unpack(gzip.compress(a_tar([(f"t/{i}", b"%d\n" % i) for i in range(20_000)]), 1))
    assert len(found.files) == 20_000


def test_a_tar_of_folders_alone_is_bounded_too(unpack: Any) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(20):
            info = tarfile.TarInfo(f"t/{number}")
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
    with pytest.raises(RepositoryTooLargeError, match="max_files"):
        unpack(packed.getvalue(), Limits(max_files=10))


def a_header(size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header whose size field is given as it stands."""
    header = bytearray(tarfile.TarInfo("t/a").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [b"\xff" * 11 + b"\x00", b"\x80" + b"\x7f" * 11, b"77777777777\0", b"not a number"])
def test_a_tar_header_that_lies_about_its_size_is_an_error(unpack: Any, kind: bytes, size: bytes) -> None:
    with pytest.raises((UnreadableSourceError, RepositoryTooLargeError)):
        unpack(a_tar([("t/first", b"x\n")])[:1024] + a_header(size, kind) + bytes(4096))


def test_a_pax_size_below_zero_is_an_error(unpack: Any) -> None:
    record = b"13 size=-512\n"
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, len(record)
    content = pax.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + a_header(b"00000000000\0") + bytes(1024)
    with pytest.raises(UnreadableSourceError):
        unpack(content)


def test_a_chain_of_pax_headers_is_an_error(unpack: Any) -> None:
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 8
    link = pax.tobuf(tarfile.USTAR_FORMAT) + b"8 a=bcd\n".ljust(512, b"\0")
    with pytest.raises(UnreadableSourceError):
        unpack(link * 5000 + bytes(1024))


def test_what_is_cut_short_is_an_error(unpack: Any) -> None:
    plain = a_tar([("t/a", os.urandom(3000).hex().encode()), ("t/b", b"x\n")])
    for whole in (plain, gzip.compress(plain), lzma.compress(plain), a_zip([("t/a", os.urandom(3000))])):
        with pytest.raises(UnreadableSourceError, match="damaged"):
            unpack(whole[:2000])


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive at all\n" * 100, b"PK\x03\x04", b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh9"],
)
def test_what_is_no_archive_is_an_error_with_its_path(unpack: Any, content: bytes) -> None:
    with pytest.raises(UnreadableSourceError, match=r"^archive /.*/given\.archive: damaged: "):
        unpack(content)


def test_a_zip_with_a_wrong_checksum_is_an_error(unpack: Any) -> None:
    packed = bytearray(a_zip([("t/a", b"x" * 1000)]))
    crc = zlib.crc32(b"x" * 1000).to_bytes(4, "little")
    with pytest.raises(UnreadableSourceError, match="CRC"):
        unpack(bytes(packed).replace(crc, b"\1\2\3\4"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(["tar", "gz", "xz", "zip"]),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
)
def test_damaged_bytes_give_files_or_a_typed_error(tmp_path: Path, kind: str, edits: list[tuple[int, int]]) -> None:
    files = [("t/a.py", b"print(1)\n" * 50), ("t/" + "long/" * 40 + "b", b"x\n"), ("t/ü", b"y\n")]
    content = bytearray(a_zip(files) if kind == "zip" else a_tar(files, link=tarfile.SYMTYPE))
    for at, value in edits:
        content[at % len(content)] = value
    content = bytearray({"gz": gzip.compress, "xz": lzma.compress}.get(kind, bytes)(bytes(content)))
    path = tmp_path / "x"
    path.write_bytes(content)
    try:
        for entry in archive.entries(path, tmp_path, Budget("x", Limits())):
            assert isinstance(entry.content, Refusal) or isinstance(entry.content(), bytes)
    except RepoloomError:
        pass
    assert list(tmp_path.iterdir()) == [path]
