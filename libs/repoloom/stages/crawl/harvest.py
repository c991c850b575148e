"""From entries to rows: every file that a source lists becomes a row of FILES or of DROPPED."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from repoloom.corpus.tables import FILES, Drops
from repoloom.engine.step import Sink
from repoloom.stages.crawl import content as contents
from repoloom.stages.crawl import paths
from repoloom.stages.crawl.entry import Entry, Refusal, Repository
from repoloom.stages.crawl.errors import RepositoryTooLargeError
from repoloom.stages.crawl.license import Evidence
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.sources import JsonlSource, ParquetSource, Source

REPOSITORIES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # of the source: "pypi", "git", ...
        pa.field("url", pa.string(), nullable=False),  # without credentials; a package URL (purl) for registries
        pa.field("license", pa.string(), nullable=False),  # SPDX expression, "" where none was found
        pa.field("files", pa.int64(), nullable=False),  # kept
        pa.field("bytes", pa.int64(), nullable=False),  # kept
    ]
)
"""One row a repository that was crawled, also where nothing of it was kept."""

_BATCH_BYTES = 4 << 20
_ROW_BYTES = 1 << 10  # in memory, besides the content: nine Python objects
_BATCH_DROPS = 10_000
_BATCH_REPOSITORIES = 1024
_UNLICENSED = pa.schema([field for field in FILES if field.name != "license"])


class Harvest:
    """Takes the repositories of one source. Holds a few MiB of them, whatever their size."""

    def __init__(self, source: Source, limits: Limits, out: Sink, scratch: Path) -> None:
        self._source = source
        self._limits = limits
        self._out = out
        self._files = _Files(out, scratch)
        self._drops = Drops()
        self._dropped = 0
        self._repositories: list[tuple[Any, ...]] = []

    def take(self, repository: Repository) -> None:
        """Takes all files of a repository.

        One of a table that is too large is given up alone: the table has others. Raises RepositoryTooLargeError for
        one that is a source of its own, or what its entries raise.
        """
        budget = Budget(repository.name, self._limits)
        evidence = Evidence()
        seen: set[str] = set()
        files = size = 0
        for entry in repository.entries:
            try:
                budget.spend(entry.size)
            except RepositoryTooLargeError as error:
                if not isinstance(self._source, JsonlSource | ParquetSource):
                    raise
                self._give_up(repository, itertools.chain([entry], repository.entries), str(error))
                files = size = 0
                break
            path = paths.printable(entry.path)
            found = self._judge(entry, path, seen)
            if isinstance(found, Refusal):
                self._out.enter(1, entry.size)
                self._drop(repository, path, entry.size, found, b"")
                continue
            self._out.enter(1, len(found))
            evidence.see(path, found)
            if refusal := contents.refuse_content(found):
                self._drop(repository, path, len(found), refusal, found)
                continue
            self._files.add(self._row(repository, path, found))
            files, size = files + 1, size + len(found)
        license_ = self._source.license or evidence.expression()
        self._files.settle(license_)
        row = (repository.name, repository.revision, repository.kind, repository.url, license_, files, size)
        self._repositories.append(row)
        if len(self._repositories) == _BATCH_REPOSITORIES:
            self._write_repositories()

    def finish(self) -> None:
        """Writes what is still held."""
        self._files.flush()
        self._write_repositories()
        self._out.write("dropped", self._drops.take())

    def _write_repositories(self) -> None:
        columns = [list(column) for column in zip(*self._repositories, strict=True)]
        if columns:
            self._out.write("repositories", pa.RecordBatch.from_arrays(columns, schema=REPOSITORIES))
        self._repositories.clear()

    def _give_up(self, repository: Repository, rest: Iterable[Entry], problem: str) -> None:
        """Drops all files of a repository, those that were taken and those to come."""
        refusal = Refusal("repository_too_large", problem)
        for path, content in self._files.withdraw():
            self._drop(repository, path, len(content), refusal, content)
        for entry in rest:
            self._out.enter(1, entry.size)
            self._drop(repository, paths.printable(entry.path), entry.size, refusal, b"")

    def _judge(self, entry: Entry, path: str, seen: set[str]) -> Refusal | bytes:
        if refusal := paths.refuse(entry.path, self._limits):
            return refusal
        if path in seen:
            return Refusal("duplicate_path", "the archive holds this path twice; the first is taken")
        seen.add(path)
        if isinstance(entry.content, Refusal):
            return entry.content
        return contents.refuse(path, entry.size, self._limits) or entry.content()

    def _row(self, repository: Repository, path: str, content: bytes) -> tuple[Any, ...]:
        """A row of FILES without its licence, which is known when the whole repository was seen."""
        blob = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
        blob.update(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return (
            repository.name,
            repository.revision,
            path,
            self._source.domain,
            "",
            blob.hexdigest(),
            sha256,
            len(content),
            content,
        )

    def _drop(self, repository: Repository, path: str, size: int, refusal: Refusal, content: bytes) -> None:
        self._drops.add(
            repo=repository.name,
            path=path[: self._limits.max_path_bytes],
            language="",
            size=size,
            rule=refusal.rule,
            value=refusal.value,
            threshold=refusal.threshold,
            detail=refusal.detail,
            content=content,
        )
        self._dropped += 1
        if self._dropped % _BATCH_DROPS == 0:
            self._out.write("dropped", self._drops.take())


class _Files:
    """Rows of FILES that wait for their repository's licence: a few MiB here, a large one's others in a file."""

    def __init__(self, out: Sink, scratch: Path) -> None:
        self._out = out
        self._spool = scratch / "waiting.arrow"
        self._spooling: pa.ipc.RecordBatchStreamWriter | None = None
        self._columns: list[list[Any]] = [[] for _ in _UNLICENSED]
        self._licenses: list[str] = []  # of the first rows, whose repositories are done
        self._bytes = 0

    def add(self, row: tuple[Any, ...]) -> None:
        for column, cell in zip(self._columns, row, strict=True):
            column.append(cell)
        self._bytes += len(row[-1]) + _ROW_BYTES
        if self._bytes >= _BATCH_BYTES:
            self.flush()
            if waiting := self._batch(len(self._columns[0])):
                self._spooling = self._spooling or pa.ipc.new_stream(str(self._spool), _UNLICENSED)
                self._spooling.write_batch(waiting)
            self._bytes = 0

    def settle(self, license_: str) -> None:
        """Gives all rows that wait their licence."""
        for batch in self._spooled():
            self._write(batch, [license_] * batch.num_rows)
        self._licenses += [license_] * (len(self._columns[0]) - len(self._licenses))

    def withdraw(self) -> Iterator[tuple[str, bytes]]:
        """Takes out the rows that wait: the path and content of each."""
        for batch in self._spooled():
            yield from zip(batch["path"].to_pylist(), batch["content"].to_pylist(), strict=True)
        rows = list(zip(*(column[len(self._licenses) :] for column in self._columns), strict=True))
        for column in self._columns:
            del column[len(self._licenses) :]
        path, content = _UNLICENSED.get_field_index("path"), _UNLICENSED.get_field_index("content")
        yield from ((row[path], row[content]) for row in rows)

    def flush(self) -> None:
        """Writes the rows whose licence is known."""
        licenses, self._licenses = self._licenses, []
        if batch := self._batch(len(licenses)):
            self._write(batch, licenses)

    def _batch(self, rows: int) -> pa.RecordBatch | None:
        """Takes out the first rows."""
        if not rows:
            return None
        arrays = [pa.array(column[:rows], field.type) for column, field in zip(self._columns, _UNLICENSED, strict=True)]
        for column in self._columns:
            del column[:rows]
        return pa.RecordBatch.from_arrays(arrays, schema=_UNLICENSED)

    def _spooled(self) -> Iterator[pa.RecordBatch]:
        if self._spooling is None:
            return
        self._spooling.close()
        self._spooling = None
        with pa.OSFile(str(self._spool)) as file, pa.ipc.open_stream(file) as stream:
            yield from stream
        self._spool.unlink()

    def _write(self, batch: pa.RecordBatch, licenses: list[str]) -> None:
        columns = {
            **dict(zip(_UNLICENSED.names, batch.columns, strict=True)),
            "license": pa.array(licenses, pa.string()),
        }
        self._out.write("files", pa.RecordBatch.from_arrays([columns[name] for name in FILES.names], schema=FILES))
