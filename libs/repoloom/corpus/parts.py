"""A table's parts as columns, some 150 bytes a part however many they are, and the object that lists them.

It is `parts/<table>-<SHA-256>.jsonl.zst`: a line of canonical JSON for each part. The digest is of the lines, so it
does not depend on who compresses them.
"""

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, cast, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import zstandard

from repoloom.corpus.manifest import Listing, Part
from repoloom.corpus.reading import READINGS, WAY_OUT
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store

PARTS = pa.schema(
    [
        pa.field("key", pa.large_string(), nullable=False),
        pa.field("sha256", pa.large_string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
    ]
)
_BLOCK_ROWS = 8192  # turned into Python objects at a time
_CHUNK_BYTES = 8 << 20  # of lines that are held at a time
_LINE_BYTES = 4 << 10  # at most; a part's line has about 200
_ZSTD_LEVEL = 3
_WINDOW_BYTES = 8 << 20  # that a reader must hold; this level takes 2 MiB
_text = json.JSONEncoder(ensure_ascii=False).encode


class Parts(Sequence[Part]):
    """Parts in order. A slice is a view: it copies nothing and knows which parts of the whole it has."""

    def __init__(self, rows: "_Rows", span: range | None = None) -> None:
        """Of the rows those in `span` are the parts."""
        self._rows = rows
        self.span = range(rows.count) if span is None else span
        self._digest: str | None = None

    def __len__(self) -> int:
        return len(self.span)

    @overload
    def __getitem__(self, at: int) -> Part: ...
    @overload
    def __getitem__(self, at: slice) -> "Parts": ...
    def __getitem__(self, at: int | slice) -> "Part | Parts":
        if isinstance(at, slice):
            return Parts(self._rows, self.span[at])
        row = self.span[at]
        return next(iter(Parts(self._rows, range(row, row + 1))))

    def __iter__(self) -> Iterator[Part]:
        columns = (self._rows.column(name, self.span) for name in PARTS.names)
        for key, sha256, size, rows in zip(*columns, strict=True):
            yield Part(key=key, sha256=sha256, bytes=size, rows=rows)

    @property
    def digest(self) -> str:
        """`digest_of` its parts."""
        if self._digest is None:
            self._digest = _digest(self._rows.column("sha256", self.span))
        return self._digest

    @property
    def sizes(self) -> Iterator[int]:
        """`sizes_of` its parts."""
        return self._rows.column("bytes", self.span)


class _Rows:
    """Columns of the schema PARTS, of which a block or two are Python objects at a time."""

    def __init__(self, columns: pa.Table) -> None:
        self.count = columns.num_rows
        self._columns = columns
        self._blocks = functools.lru_cache(maxsize=2 * len(PARTS))(self._block)

    def column(self, name: str, span: range) -> Iterator[Any]:
        """The cells of a column, row by row."""
        while span:
            block, first = divmod(span[0], _BLOCK_ROWS)
            here = range(first, _BLOCK_ROWS if span.step > 0 else -1, span.step)[: len(span)]
            yield from map(self._blocks(name, block).__getitem__, here)
            span = span[len(here) :]

    def _block(self, name: str, number: int) -> list[Any]:
        cells: list[Any] = self._columns[name].slice(number * _BLOCK_ROWS, _BLOCK_ROWS).to_pylist()
        return cells


def digest_of(parts: Sequence[Part]) -> str:
    """The SHA-256 of the parts' digests in order: what is read, wherever it lies and whatever it is called."""
    return parts.digest if isinstance(parts, Parts) else _digest(part.sha256 for part in parts)


def sizes_of(parts: Sequence[Part]) -> Iterator[int]:
    """The stored bytes of each part."""
    return parts.sizes if isinstance(parts, Parts) else (part.bytes for part in parts)


def columns_of(parts: Iterable[Part]) -> pa.Table:
    """Parts as columns."""
    return pa.Table.from_pylist([part.model_dump() for part in parts], PARTS)


def listing_key(table: str, sha256: str) -> str:
    """Where the list of a table's parts lies in its dataset."""
    return f"parts/{table}-{sha256}.jsonl.zst"


def write_listing(store: Store, table: str, columns: pa.Table) -> Listing:
    """Writes the list of a table's parts, whose `columns` have the schema PARTS."""
    sha256 = hashlib.sha256()
    packed = io.BytesIO()
    with zstandard.ZstdCompressor(_ZSTD_LEVEL).stream_writer(packed, closefd=False) as compressed:
        for batch in columns.to_batches(max_chunksize=_BLOCK_ROWS):
            lines = "".join(_lines(batch)).encode()
            sha256.update(lines)
            compressed.write(lines)
    with store.create(listing_key(table, sha256.hexdigest())) as file:
        file.write(packed.getbuffer())
    return Listing(
        sha256=sha256.hexdigest(),
        parts=columns.num_rows,
        rows=pc.sum(columns["rows"], min_count=0).as_py(),
        bytes=pc.sum(columns["bytes"], min_count=0).as_py(),
    )


@functools.lru_cache(maxsize=4)
def read_listing(root: str, table: str, listing: Listing) -> Parts:
    """The parts of a table of the dataset at `root`. Raises CorruptDataError."""
    store = open_store(root)
    key = listing_key(table, listing.sha256)
    problem: Exception | None = None
    for _ in range(READINGS):
        try:
            with store.open(key) as file:
                return Parts(_Rows(_parse(file, listing)))
        except FileNotFoundError:
            raise CorruptDataError(f"{store.uri}/{key} is missing; {WAY_OUT.format(store.uri)}") from None
        except (zstandard.ZstdError, pa.ArrowException, ValueError) as error:
            problem = error
    raise CorruptDataError(f"{store.uri}/{key} is corrupt: {problem}; {WAY_OUT.format(store.uri)}") from problem


def _parse(file: io.BufferedIOBase, listing: Listing) -> pa.Table:
    """The columns of a list. Raises ValueError, ZstdError or ArrowException where it is not what was committed."""
    sha256 = hashlib.sha256()
    blocks = [PARTS.empty_table()]
    with zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(cast(IO[bytes], file)) as lines:
        for block in _blocks(lines, most=listing.parts * _LINE_BYTES):
            sha256.update(block)
            options = pa.json.ParseOptions(explicit_schema=PARTS, unexpected_field_behavior="error")
            reading = pa.json.ReadOptions(use_threads=False, block_size=len(block))
            parsed = pa.json.read_json(io.BytesIO(block), reading, options)
            parsed.validate(full=True)
            if any(column.null_count for column in parsed.columns):
                raise ValueError("a part lacks a field")
            blocks.append(parsed.cast(PARTS))
    columns = pa.concat_tables(blocks).combine_chunks()
    if sha256.hexdigest() != listing.sha256 or columns.num_rows != listing.parts:
        raise ValueError("it lists other parts than were committed")
    if columns.num_rows and min(pc.min(columns[name]).as_py() for name in ("bytes", "rows")) < 0:
        raise ValueError("a part has a negative size")
    return columns


def _blocks(lines: zstandard.ZstdDecompressionReader, most: int) -> Iterator[bytes]:
    """Whole lines, some MiB at a time. Raises ValueError where they come to more than `most` bytes."""
    rest, total = b"", 0
    while chunk := lines.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > most:
            raise ValueError("it is longer than the parts that were committed")
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield whole + newline
        elif len(rest) > _LINE_BYTES:
            raise ValueError("it has a line that is too long")
    if rest:
        raise ValueError("its last line is not whole")


def _lines(batch: pa.RecordBatch) -> Iterator[str]:
    columns = (batch[name].to_pylist() for name in ("bytes", "key", "rows", "sha256"))
    for size, key, rows, sha256 in zip(*columns, strict=True):
        yield f'{{"bytes":{size},"key":{_text(key)},"rows":{rows},"sha256":{_text(sha256)}}}\n'


def _digest(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
