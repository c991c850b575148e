"""The rows of a stream as a step reads them, with limits on what one repository may hold."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from repoloom.corpus.grouping import repositories, runs
from repoloom.errors import InputError, TooLargeError
from repoloom.rpc.room import Share

_REMEMBERED = 1 << 16  # repositories of a stream whose return is noticed


@dataclass(frozen=True)
class Limits:
    """What one repository of a stream may hold: a step may need all of one at once."""

    repository_bytes: int = 256 << 20
    repository_rows: int = 100_000


class StreamReader:
    """A table that is read once, while it comes. Raises TooLargeError, and InputError where a repository comes apart.

    Rows come apart where those of another repository stand between them. A step that gathers them holds a batch and the
    repository that began before it: so much is taken of the call's share. Raises OverloadedError where it has no more.
    """

    def __init__(
        self,
        pull: Callable[[], Iterator[pa.RecordBatch]],
        limits: Limits,
        share: Share,
        weigh: Callable[[pa.RecordBatch], int],
    ) -> None:
        self._pull = pull
        self._limits = limits
        self._share = share
        self._weigh = weigh
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._repository = ""
        self._bytes = self._rows = 0

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for batch in self._pull():
            self._share.hold(self._bytes + self._weigh(batch))
            for run in runs(batch):
                self._count(run)
            yield batch if columns is None else batch.select([name for name in columns if name in batch.schema.names])

    def repositories(self) -> Iterator[pa.Table]:
        return repositories(self.batches())

    def table(self) -> pa.Table:
        return pa.Table.from_batches(list(self.batches()))

    def blobs(self) -> Iterator[bytes]:
        raise NotImplementedError("no step that is served reads raw parts")

    def _count(self, run: pa.RecordBatch) -> None:
        repo = run["repo"][0].as_py()
        if repo != self._repository:
            if repo in self._seen:
                raise InputError(f"the rows of {repo} came apart: all of one repository are sent one after another")
            self._seen[repo] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            self._repository, self._bytes, self._rows = repo, 0, 0
        self._bytes += run.nbytes
        self._rows += run.num_rows
        if self._bytes > self._limits.repository_bytes or self._rows > self._limits.repository_rows:
            raise TooLargeError(
                f"{repo} has more than {self._limits.repository_rows} rows or {self._limits.repository_bytes} bytes, "
                "the most that a stream may hold of one repository; a batch job has no such limit"
            )


class MemoryReader:
    """A small table that is there already."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        rows = (
            self._rows if columns is None else self._rows.select([c for c in columns if c in self._rows.schema.names])
        )
        yield from rows.to_batches()

    def repositories(self) -> Iterator[pa.Table]:
        return repositories(self.batches())

    def table(self) -> pa.Table:
        return self._rows

    def blobs(self) -> Iterator[bytes]:
        raise NotImplementedError("a table in memory has no raw parts")
