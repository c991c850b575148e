"""A table's parts as columns are the parts, whatever is asked of them; a list of other parts is refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus import parts as module
from repoloom.corpus.manifest import Listing, Part, canonical_json
from repoloom.corpus.parts import Parts, columns_of, digest_of, listing_key, read_listing, sizes_of, write_listing
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store

SIZES = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PARTS = st.lists(st.builds(Part, key=TEXT, sha256=TEXT, bytes=st.integers(0, 2**50), rows=st.integers(0, 2**50)))
SLICES = st.slices(30)


def _some(count: int) -> list[Part]:
    return [
        Part(key=f"tasks/{n}/files-000.parquet", sha256=hashlib.sha256(b"%d" % n).hexdigest(), bytes=n, rows=2 * n)
        for n in range(count)
    ]


def _listed(store: Store, parts: list[Part]) -> Parts:
    listing = write_listing(store, "files", columns_of(parts))
    read_listing.cache_clear()
    return read_listing(store.uri, "files", listing)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(str(tmp_path_factory.mktemp("parts")))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1 << 10)


@given(PARTS)
def test_parts_survive_being_listed(store: Store, parts: list[Part]) -> None:
    listed = _listed(store, parts)
    assert list(listed) == parts
    assert len(listed) == len(parts)
    assert digest_of(listed) == digest_of(parts)
    assert list(sizes_of(listed)) == [part.bytes for part in parts]


@given(st.integers(0, 30), SLICES, SLICES)
def test_a_slice_of_parts_is_the_slice_of_their_list(store: Store, count: int, first: slice, second: slice) -> None:
    parts = _some(count)
    view = _listed(store, parts)[first][second]
    assert list(view) == parts[first][second]
    assert digest_of(view) == digest_of(parts[first][second])
    assert [view[at] for at in range(-len(view), len(view))] == 2 * parts[first][second]
    with pytest.raises(IndexError):
        view[len(view)]


@given(PARTS)
def test_the_list_is_canonical_json_and_its_name_the_digest_of_that(store: Store, parts: list[Part]) -> None:
    listing = write_listing(store, "files", columns_of(parts))
    with zstandard.ZstdDecompressor().stream_reader(store.open(listing_key("files", listing.sha256))) as lines:
        content = lines.read()
    assert content == b"".join(canonical_json(part.model_dump()) + b"\n" for part in parts)
    assert hashlib.sha256(content).hexdigest() == listing.sha256
    assert (listing.parts, listing.rows) == (len(parts), sum(part.rows for part in parts))
    assert listing.bytes == sum(part.bytes for part in parts)


def _line(**change: object) -> bytes:
    fields = {**Part(key="a", sha256="b", bytes=1, rows=2).model_dump(), **change}
    return canonical_json({name: value for name, value in fields.items() if value is not None}) + b"\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        _line(),
        _line() * 3,
        _line() + b"\n",
        _line() + _line()[:-1],
        _line() + _line(rows=None),
        _line() + _line(rows=-1),
        _line() + _line(rows=1.5),
        _line() + _line(rows=2**63),
        _line() + _line(key=5),
        _line() + _line(key="x" * 9000),
        _line() + _line(more=1),
        _line() + b"[]\n",
        _line() + b"\xff\n",
        _line() + _line().replace(b'"a"', b'"\xff"'),
        b"\0" * 10_000_000,
        b"\n" * 10_000_000,
    ],
    ids=range(17),
)
def test_a_hostile_list_of_two_parts_is_refused(store: Store, lines: bytes) -> None:
    listing = Listing(sha256=hashlib.sha256(lines).hexdigest(), parts=2, rows=4, bytes=2)
    with store.create(listing_key("files", listing.sha256)) as file:
        file.write(zstandard.compress(lines))
    with pytest.raises(CorruptDataError, match=r"is corrupt.*`repoloom retry"):
        read_listing(store.uri, "files", listing)


@pytest.mark.parametrize(
    "harm",
    [lambda whole: whole[:-3], lambda whole: whole[:40] + b"\0" + whole[41:], lambda _: b"", lambda _: b"no zstd"],
    ids=["cut", "flipped", "empty", "something else"],
)
def test_a_harmed_list_is_refused(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    store = open_store(str(tmp_path))
    listing = write_listing(store, "files", columns_of(_some(20)))
    path = tmp_path / listing_key("files", listing.sha256)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(CorruptDataError, match="is corrupt"):
        read_listing(store.uri, "files", listing)


def test_a_missing_list_is_said_to_be_missing(store: Store) -> None:
    with pytest.raises(CorruptDataError, match="is missing"):
        read_listing(store.uri, "files", Listing(sha256="0" * 64, parts=1, rows=1, bytes=1))
