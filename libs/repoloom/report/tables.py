"""The tables of a run: which dataset holds the last state of each, read by column and in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from repoloom.corpus.dataset import Dataset


@dataclass(frozen=True)
class Tables:
    """The datasets of a run in the order they were made."""

    datasets: Sequence[Dataset]

    def holder(self, table: str) -> Dataset | None:
        """The last dataset that has the table."""
        return next((dataset for dataset in reversed(self.datasets) if table in dataset.manifest.tables), None)

    def count(self, table: str) -> int | None:
        """Its rows; None where no dataset has it."""
        dataset = self.holder(table)
        return None if dataset is None else dataset.manifest.tables[table].rows

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns, one row group at a time; nothing where no dataset has the table."""
        if (dataset := self.holder(table)) is not None:
            yield from dataset.reader(table).batches(columns)

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Some columns, row by row."""
        for batch in self.batches(table, columns):
            yield from batch.to_pylist()

    def repositories(self, table: str) -> Iterator[pa.Table]:
        """The rows of one repository at a time."""
        if (dataset := self.holder(table)) is not None:
            yield from dataset.reader(table).repositories()
