"""A committed dataset: its manifest and the store it lies in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from repoloom.corpus.local_copies import named_copy
from repoloom.corpus.manifest import Manifest, Part
from repoloom.corpus.parts import Parts, read_listing
from repoloom.corpus.reading import TableReader, fetch_part, verify_part
from repoloom.errors import CorruptDataError, InputError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import Store, open_store
from repoloom.store.folder import FolderStore

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dataset:
    """An immutable dataset at an address."""

    uri: str
    manifest: Manifest

    @classmethod
    def open(cls, uri: str) -> "Dataset":
        """The dataset at an address. Raises InputError where there is none, CorruptDataError if unreadable."""
        store = open_store(uri)
        try:
            content = store.read(MANIFEST)
        except FileNotFoundError:
            raise InputError(f"{uri} is not a dataset: it has no {MANIFEST}") from None
        try:
            return cls(store.uri, Manifest.model_validate_json(content))
        except ValidationError as error:
            raise CorruptDataError(f"{uri}/{MANIFEST} cannot be read: {error.errors()[0]['msg']}") from error

    @property
    def store(self) -> Store:
        """Where it lies."""
        return open_store(self.uri)

    @property
    def digest(self) -> str:
        """Its identity."""
        return self.manifest.digest()

    def parts(self, table: str) -> Parts:
        """The parts of a table. Raises InputError where the dataset has no such table, CorruptDataError."""
        try:
            listing = self.manifest.tables[table]
        except KeyError:
            raise InputError(f"{self.uri} has no table {table!r}, it has: {', '.join(self.manifest.tables)}") from None
        return read_listing(self.uri, table, listing)

    def local_path(self, part: Part) -> Path:
        """A part's file, for readers that map it into memory; where it lies elsewhere, that of a checked copy.

        The copy lasts as long as this process. Raises CorruptDataError and StoreError.
        """
        store = self.store
        if isinstance(store, FolderStore):
            return store.root / part.key
        return named_copy(part.sha256, lambda file: fetch_part(store, part, file))

    def reader(self, table: str) -> TableReader:
        """The rows of a table."""
        return TableReader(self.uri, self.parts(table))

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table, one row group at a time."""
        return self.reader(table).batches()

    def verify(self, heartbeat: Heartbeat = unheard) -> None:
        """Recomputes every digest and balances the ledger. Raises CorruptDataError naming what first does not hold.

        `heartbeat` beats for each part.
        """
        if problem := self.manifest.ledger.imbalance():
            raise CorruptDataError(f"{self.uri}: the ledger does not balance: {problem}")
        store = self.store
        for table in self.manifest.tables:
            for part in self.parts(table):
                verify_part(store, part)
                heartbeat()
