"""Reading parts: the bytes are checked against their digest before the first row is handed out."""

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from repoloom.corpus.grouping import repositories
from repoloom.corpus.local_copies import LocalCopies
from repoloom.corpus.manifest import Part
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store
from repoloom.store.folder import FolderStore

WAY_OUT = "`repoloom retry {}` and running again makes it anew"


_CHUNK = 1 << 20
READINGS = 3  # what was harmed on the way comes right when it is read again

_copies = LocalCopies(most_bytes=1 << 30, most_files=128)


def verify_part(store: Store, part: Part) -> None:
    """Compares an object's bytes with its digest. Raises CorruptDataError."""
    for _ in range(READINGS):
        try:
            with store.open(part.key) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise _missing(store, part) from None
        if digest == part.sha256:
            return
    raise _corrupt(store, part, digest)


def fetch_part(store: Store, part: Part, into: BinaryIO) -> None:
    """Copies an object, comparing its bytes with its digest on the way. Raises CorruptDataError."""
    for _ in range(READINGS):
        into.seek(0)
        into.truncate()
        sha256 = hashlib.sha256()
        try:
            with store.open(part.key) as file:
                while into.tell() <= part.bytes and (chunk := file.read(_CHUNK)):
                    sha256.update(chunk)
                    into.write(chunk)
        except FileNotFoundError:
            raise _missing(store, part) from None
        if sha256.hexdigest() == part.sha256:
            return
    raise _corrupt(store, part, sha256.hexdigest())


def open_part(store: Store, part: Part) -> io.BufferedIOBase:
    """A part, its bytes checked: in place where it lies in a folder, else a local copy. Raises CorruptDataError."""
    if isinstance(store, FolderStore):
        _verify_once(store.uri, part)
        return store.open(part.key)
    return _copies.open(part.sha256, lambda file: fetch_part(store, part, file))


def open_parquet(file: io.BufferedIOBase | Path) -> pq.ParquetFile:
    """A Parquet file that is read by the thread that asks for its rows.

    One of Arrow's own may let go of what it read as Python ends, which aborts the process.
    """
    return pq.ParquetFile(file, pre_buffer=False)


def _missing(store: Store, part: Part) -> CorruptDataError:
    return CorruptDataError(f"{store.uri}/{part.key} is missing; {WAY_OUT.format(store.uri)}")


def _corrupt(store: Store, part: Part, digest: str) -> CorruptDataError:
    return CorruptDataError(
        f"{store.uri}/{part.key} is corrupt: its bytes hash to {digest[:12]}…, committed was {part.sha256[:12]}…; "
        + WAY_OUT.format(store.uri)
    )


@functools.lru_cache(maxsize=4096)
def _verify_once(root: str, part: Part) -> None:
    verify_part(open_store(root), part)


class TableReader:
    """A share of a table: some of its parts, in order."""

    def __init__(self, root: str, parts: Sequence[Part], reached: Callable[[str], None] = lambda _: None) -> None:
        """`reached` is told of the repository at the head of what is handed out, right before it is."""
        self._root = root
        self._parts = parts
        self._reached = reached

    def columns(self) -> list[str]:
        """The names of the columns, none where the table has no part."""
        store = open_store(self._root)
        for part in self._parts[:1]:
            with open_part(store, part) as file, open_parquet(file) as parquet:
                return list(parquet.schema_arrow.names)
        return []

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in order, a row group (a few MiB) at a time; of the named columns only those that the table has."""
        for batch in self._row_groups(columns):
            if batch.num_rows and "repo" in batch.schema.names:
                self._reached(batch["repo"][0].as_py())
            yield batch

    def repositories(self) -> Iterator[pa.Table]:
        """The rows of one repository at a time; the table's rows of one repository are contiguous."""
        for repository in repositories(self._row_groups()):
            self._reached(repository["repo"][0].as_py())
            yield repository

    def table(self) -> pa.Table:
        """All rows at once, with no row where there is no part: for tables that are small by construction."""
        batches = list(self.batches())
        return pa.Table.from_batches(batches) if batches else pa.table({})

    def blobs(self) -> Iterator[bytes]:
        """The parts' raw bytes."""
        store = open_store(self._root)
        for part in self._parts:
            with open_part(store, part) as file:
                yield file.read()

    def _row_groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        store = open_store(self._root)
        for part in self._parts:
            with open_part(store, part) as file, open_parquet(file) as parquet:
                present = columns and [name for name in columns if name in parquet.schema_arrow.names]
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=present, use_threads=False)
                    yield from rows.combine_chunks().to_batches()
