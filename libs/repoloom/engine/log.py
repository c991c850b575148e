"""The log of commits: what `tasks/<key>/commit.json` says, gathered into few objects that are quick to read.

Its segments are Parquet, a row for each commit, named `log/<SHA-256>-<rows>.parquet`. The commits are the truth and the
log repeats it: a task whose commit is not in the log yet is handed out again, and its worker answers at once from the
commit. So nothing need be told to the log in time, two runs may write it at once, and a lost segment costs time only.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from repoloom import store as stores
from repoloom.corpus.ledger import Counts, Ledger
from repoloom.corpus.reading import WAY_OUT, open_parquet
from repoloom.engine.task import Commit
from repoloom.errors import CorruptDataError
from repoloom.store import Store


def _struct(**types: pa.DataType) -> pa.DataType:
    return pa.struct([pa.field(name, kind, nullable=False) for name, kind in types.items()])


_TEXT, _INT = pa.large_string(), pa.int64()
COMMITS = pa.schema(
    [
        pa.field("task", pa.binary(16), nullable=False),
        pa.field("parts", pa.list_(_struct(table=_TEXT, key=_TEXT, sha256=_TEXT, bytes=_INT, rows=_INT))),
        pa.field("counts", pa.list_(_struct(side=_TEXT, name=_TEXT, language=_TEXT, items=_INT, size=_INT))),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("cpu_seconds", pa.float64(), nullable=False),
        pa.field("peak_memory", _INT, nullable=False),
    ]
)
"""A commit. Its ledger is flat: the side is "entering" (of no name and language), "kept" or "dropped"."""

COSTS = ("seconds", "cpu_seconds", "peak_memory")  # columns, of the names they have in Cost
FULL = 16384  # commits; a segment of as many, about 3 MB, stays as it is
_SMALL = 8  # that many smaller segments become one
_LEAST, _MOST = 16, 4096  # commits between two segments: a killed run hands out so many again
_AT_ONCE = 8  # segments read
_NAME = re.compile(r"log/([0-9a-f]{64})-([0-9]{1,9})\.parquet")


class CommitLog:
    """The log of a dataset."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments: dict[str, int] = {}  # those that were seen, and how many commits each has
        self._pending: list[Commit] = []

    def segments(self) -> Iterator[pa.Table]:
        """The commits, segment by segment; some may be there twice. Raises CorruptDataError."""
        with ThreadPoolExecutor(_AT_ONCE) as readers:
            # What another run has merged while we read is in a segment that was not there before.
            while new := [key for key in self._names() if key not in self._segments]:
                for start in range(0, len(new), _AT_ONCE):
                    for rows in readers.map(self._read, new[start : start + _AT_ONCE]):
                        if rows is not None:
                            yield rows
                self._segments.update({key: _rows_in(key) for key in new})

    def add(self, commit: Commit) -> None:
        """Takes a commit in; it is written with the next segment."""
        self._pending.append(commit)

    @property
    def is_due(self) -> bool:
        """Whether a segment should be written now: the longer the log, the less often."""
        logged = sum(self._segments.values())
        return len(self._pending) >= min(max(_LEAST, logged // 4), _MOST)

    def flush(self) -> pa.Table:
        """Writes what was added since the last time, and returns it."""
        added = rows_of(self._pending)
        if added.num_rows:
            self._append(added)
        self._pending = []
        return added

    def _append(self, added: pa.Table) -> None:
        small = [key for key, rows in self._segments.items() if rows < FULL]
        merged = small if len(small) >= _SMALL else []
        found = [rows for key in merged if (rows := self._read(key)) is not None]
        written = self._write(pa.concat_tables([*found, added]))
        self._drop([key for key in merged if key != written])

    def keep(self, held: Mapping[bytes, bytes]) -> int:
        """Forgets the commits of tasks other than those held, or with other `parts_of`, and corrupt segments.

        Returns how many segments were corrupt.
        """
        corrupt = 0
        for key in list(self._names()):
            try:
                rows = self._read(key)
            except CorruptDataError:
                corrupt += 1
            else:
                if rows is None or all(kept := [held.get(task) == parts for task, parts in _parts_by_task(rows)]):
                    continue
                if any(kept):
                    self._write(rows.filter(pa.array(kept)))
            self._drop([key])
        return corrupt

    def _names(self) -> Iterator[str]:
        return (key for key in self._store.list("log") if _NAME.fullmatch(key))

    def _read(self, key: str) -> pa.Table | None:
        """A segment; None where another run has merged it into another."""
        try:
            content = self._store.read(key)
        except FileNotFoundError:
            return None
        uri = self._store.uri
        corrupt = CorruptDataError(f"{uri}/{key} is corrupt; {WAY_OUT.format(uri)}")
        if key != _name(content, _rows_in(key)):
            raise corrupt
        try:
            rows = open_parquet(io.BytesIO(content)).read(use_threads=False)
        except pa.ArrowException as error:
            raise corrupt from error
        if rows.schema != COMMITS:
            raise corrupt
        return rows

    def _write(self, rows: pa.Table) -> str:
        file = io.BytesIO()
        pq.write_table(rows, file, compression="zstd", use_dictionary=False)
        key = _name(file.getvalue(), rows.num_rows)
        stores.write(self._store, key, file.getvalue())
        self._segments[key] = rows.num_rows
        return key

    def _drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._store.delete(key)
            self._segments.pop(key, None)


def rows_of(commits: Sequence[Commit]) -> pa.Table:
    """Commits as rows of COMMITS."""
    return pa.Table.from_pylist([_row(commit) for commit in commits], COMMITS)


def parts_of(commit: Commit) -> bytes:
    """16 bytes that tell one commit's parts from another's."""
    return _fingerprint((table, part.sha256) for table, parts in commit.tables.items() for part in parts)


def _parts_by_task(rows: pa.Table) -> Iterator[tuple[bytes, bytes]]:
    for task, parts in zip(rows["task"].to_pylist(), rows["parts"].to_pylist(), strict=True):
        yield task, _fingerprint((part["table"], part["sha256"]) for part in parts)


def _fingerprint(parts: Iterable[tuple[str, str]]) -> bytes:
    lines = sorted(f"{table} {sha256}\n" for table, sha256 in parts)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).digest()


def _row(commit: Commit) -> dict[str, object]:
    return {
        "task": bytes.fromhex(commit.task),
        "parts": [{"table": table, **part.model_dump()} for table, parts in commit.tables.items() for part in parts],
        "counts": list(_counts(commit.ledger)),
        **commit.cost.model_dump(include=set(COSTS)),
    }


def _counts(ledger: Ledger) -> Iterator[dict[str, object]]:
    yield {"side": "entering", "name": "", "language": "", **ledger.entering.model_dump()}
    sides: dict[str, Counts] = {"kept": ledger.kept, "dropped": ledger.dropped}
    for side, counts in sides.items():
        for name, languages in counts.items():
            for language, count in languages.items():
                yield {"side": side, "name": name, "language": language, **count.model_dump()}


def _name(content: bytes, rows: int) -> str:
    return f"log/{hashlib.sha256(content).hexdigest()}-{rows}.parquet"


def _rows_in(key: str) -> int:
    return int(key.rpartition("-")[2].partition(".")[0])
