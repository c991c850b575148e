from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoloom.corpus import writing
from repoloom.corpus.ledger import Count
from repoloom.corpus.reading import TableReader, verify_part
from repoloom.corpus.tables import DOCUMENTS, DROPPED, FILES, Drops
from repoloom.corpus.writing import LedgerError, TaskWriter, count_rows
from repoloom.errors import CorruptDataError
from repoloom.stages.tokenize.encode import PIECES
from repoloom.store.folder import FolderStore

SCHEMAS = {"files": FILES, "dropped": DROPPED, "raw": None}


def _file(repo: str, path: str, content: bytes = b"x", language: str = "C") -> dict[str, Any]:
    cells = {"revision": "1", "domain": "code", "license": "MIT", "blob": "0" * 40, "sha256": "0" * 64}
    return {"repo": repo, "path": path, "language": language, "size": len(content), "content": content, **cells}


def _files(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=FILES)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of about 200 bytes and parts of about 1000, so that a few rows fill several."""
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 200)
    monkeypatch.setattr(writing, "PART_BYTES", 1000)


def _cut(rows: list[dict[str, Any]], cuts: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    bounds = [0, *sorted({cut % (len(rows) + 1) for cut in cuts}), len(rows)]
    yield from (rows[start:end] for start, end in pairwise(bounds))


REPOSITORIES = st.lists(st.integers(1, 6), max_size=8).map(
    lambda sizes: [_file(f"repo{r}", f"{i}", b"x" * 50) for r, files in enumerate(sizes) for i in range(files)]
)


@pytest.mark.usefixtures("small")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(rows=REPOSITORIES, cuts=st.lists(st.integers(0, 100)))
def test_rows_are_read_as_they_were_written_and_repositories_are_whole(
    store: FolderStore, rows: list[dict[str, Any]], cuts: list[int]
) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        for some in _cut(rows, cuts):
            out.write("files", _files(some))
        tables = out.finish()
    parts = tables["files"]
    assert sum(part.rows for part in parts) == len(rows)
    reached: list[str] = []
    reader = TableReader(store.uri, parts, reached.append)
    assert reader.table().to_pylist() == rows
    names = list(dict.fromkeys(row["repo"] for row in rows))
    read = []
    for repository, name in zip(reader.repositories(), names, strict=True):
        assert reached[-1] == name, "the repository that is handed out was the last to be reached"
        assert set(repository["repo"].to_pylist()) == {name}
        assert repository.schema == FILES
        read += repository.to_pylist()
    assert read == rows
    holders = [{row["repo"] for row in TableReader(store.uri, [part]).table().to_pylist()} for part in parts]
    assert sum(map(len, holders)) == len(names), "no repository lies in two parts"


@pytest.mark.usefixtures("small")
def test_a_part_ends_at_the_first_repository_after_it_is_full(store: FolderStore) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        for repo, files in (("a", 1), ("b", 9), ("c", 1), ("d", 1)):
            for number in range(files):
                out.write("files", _files([_file(repo, f"{number}", b"x" * 400)]))
        parts = out.finish()["files"]
    assert [part.key for part in parts] == [
        f"tasks/t/files-{n:03}-{part.sha256[:16]}.parquet" for n, part in enumerate(parts)
    ]
    assert [part.rows for part in parts] == [10, 2]
    assert len(list(TableReader(store.uri, parts[:1]).batches())) == 10


def test_a_part_is_rolled_on_demand_and_an_empty_one_is_never_made(store: FolderStore) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        out.roll("files")
        out.write("files", _files([]))
        out.write("files", _files([_file("a", "1")]))
        out.roll("files")
        out.roll("files")
        out.write("files", _files([_file("a", "2")]).slice(0, 1))
        out.write("files", pa.Table.from_batches([_files([_file("b", "1")])]))
        tables = out.finish()
    assert [part.rows for part in tables["files"]] == [1, 2]
    assert tables["dropped"] == tables["raw"] == ()


def test_equal_rows_make_equal_bytes(store: FolderStore) -> None:
    def digests(task: str) -> list[str]:
        with TaskWriter(store, f"tasks/{task}", SCHEMAS) as out:
            out.write("files", _files([_file(f"{n // 10}", f"{n}", b"%d" % n) for n in range(100)]))
            return [part.sha256 for part in out.finish()["files"]]

    assert digests("one") == digests("other")


def test_rows_of_another_schema_are_refused(store: FolderStore) -> None:
    rows = _files([_file("a", "1")])
    nullable = pa.schema([field.with_nullable(True) for field in FILES])
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        for table, wrong in (
            ("files", rows.select(FILES.names[::-1])),
            ("files", rows.select(FILES.names[1:])),
            ("files", pa.RecordBatch.from_arrays(rows.columns, schema=nullable)),
            ("dropped", rows),
            ("raw", rows),
        ):
            with pytest.raises(TypeError, match=f"table '{table}' has the schema"):
                out.write(table, wrong)
        assert out.finish() == {"files": (), "dropped": (), "raw": ()}


def test_blobs_are_read_as_they_were_written(store: FolderStore) -> None:
    contents = [b"first", bytes(range(256)) * 100, b""]
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        for number, content in enumerate(contents):
            out.blob("raw", f"{number}.bin", memoryview(content), rows=number)
        parts = out.finish()["raw"]
    assert list(TableReader(store.uri, parts).blobs()) == contents
    assert [part.rows for part in parts] == [0, 1, 2]
    assert [part.bytes for part in parts] == [len(content) for content in contents]
    assert [part.key for part in parts] == [f"tasks/t/raw-{n}-{part.sha256[:16]}.bin" for n, part in enumerate(parts)]


def test_an_attempt_that_comes_to_other_bytes_does_not_touch_what_another_wrote(store: FolderStore) -> None:
    """As of a worker that was frozen while its repository changed, and thawed after another had done its task."""
    with TaskWriter(store, "tasks/t", SCHEMAS) as frozen:
        frozen.write("files", _files([_file("a", "before")]))
        with TaskWriter(store, "tasks/t", SCHEMAS) as out:
            out.write("files", _files([_file("a", "after")]))
            out.blob("raw", "0.bin", b"after", rows=1)
            committed = out.finish()
        frozen.blob("raw", "0.bin", b"before", rows=1)
        frozen.finish()
    for parts in committed.values():
        for part in parts:
            verify_part(store, part)


def test_a_task_that_fails_leaves_no_part_of_what_was_open(store: FolderStore) -> None:
    def fail() -> None:
        with TaskWriter(store, "tasks/t", SCHEMAS) as out:
            out.write("files", _files([_file("a", "1")]))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(store.list("tasks")) == []
    assert list((store.root / ".tmp").iterdir()) == []


def test_a_part_whose_bytes_changed_or_went_is_said_to_be_corrupt(store: FolderStore) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        out.blob("raw", "0.bin", b"content", rows=1)
        (part,) = out.finish()["raw"]
    (store.root / part.key).write_bytes(b"CONTENT")
    with pytest.raises(CorruptDataError, match=rf"{part.key} is corrupt: .* `repoloom retry {store.uri}`"):
        verify_part(store, part)
    store.delete(part.key)
    with pytest.raises(CorruptDataError, match=f"{part.key} is missing; `repoloom retry {store.uri}`"):
        verify_part(store, part)


def test_only_the_named_columns_that_a_table_has_are_read(store: FolderStore) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        out.write("files", _files([_file("a", "1"), _file("a", "2")]))
        reader = TableReader(store.uri, out.finish()["files"])
    (batch,) = reader.batches(["size", "spans", "path"])
    assert sorted(batch.schema.names) == ["path", "size"]
    assert batch.num_rows == 2


def test_a_table_without_parts_has_no_rows(store: FolderStore) -> None:
    reader = TableReader(store.uri, [])
    assert reader.table().num_rows == 0
    assert list(reader.batches()) == list(reader.repositories()) == list(reader.blobs()) == []


def _dropped(rule: str, size: int) -> pa.RecordBatch:
    drops = Drops()
    drops.add(repo="a", path="p", language="C", size=size, rule=rule, content=b"")
    return drops.take()


def test_the_ledger_counts_what_passed_by_table_rule_and_language(store: FolderStore) -> None:
    with TaskWriter(store, "tasks/t", SCHEMAS) as out:
        out.enter(2, 30)
        out.enter(2, 12)
        out.write("files", _files([_file("a", "1", b"x" * 10), _file("a", "2", b"x" * 20, "Go")]))
        out.write("dropped", _dropped("long", 5))
        out.write("dropped", _dropped("long", 7))
        ledger = out.ledger(("files",), None)
        with pytest.raises(LedgerError, match="3 items of size 42 entered, but 2 of 30 were kept and 2 of 12 dropped"):
            out.ledger(("files",), Count(items=3, size=42))
        with pytest.raises(LedgerError):
            out.ledger((), None)
        out.finish()
    assert ledger.entering == Count(items=4, size=42)
    assert ledger.kept == {"files": {"C": Count(items=1, size=10), "Go": Count(items=1, size=20)}}
    assert ledger.dropped == {"long": {"C": Count(items=2, size=12)}}


def test_documents_are_counted_by_their_files_wherever_a_batch_is_cut() -> None:
    def span(language: str, size: int) -> dict[str, Any]:
        cells = {"path": "p", "blob": "", "sha256": "", "head": 0, "start": 0, "end": 0}
        return {"language": language, "size": size, **cells}

    spans = [[span("C", 1), span("Go", 2)], [], [span("C", 4)], [span("C", 8)]]
    cells = {"repo": "a", "revision": "1", "document": 0, "domain": "code", "license": "", "text": b""}
    rows = pa.RecordBatch.from_pylist([{**cells, "spans": files} for files in spans], schema=DOCUMENTS)
    assert sorted(count_rows(rows)) == [("", "C", 3, 13), ("", "Go", 1, 2)]
    assert sorted(count_rows(rows.slice(1, 2))) == [("", "C", 1, 4)]
    table = pa.Table.from_batches([rows.slice(0, 1), rows.slice(1)])
    assert sorted(count_rows(table)) == sorted(count_rows(rows))


def test_pieces_are_counted_by_domain_and_other_tables_not_at_all() -> None:
    cells = dict.fromkeys(("document", "piece", "epoch", "draw", "start", "end"), 0)
    pieces = [
        {**cells, "repo": "a", "fim": False, "tokens": b"", "domain": domain, "size": 4}
        for domain in ("code", "en", "code")
    ]
    assert sorted(count_rows(pa.RecordBatch.from_pylist(pieces, schema=PIECES))) == [
        ("", "code", 2, 8),
        ("", "en", 1, 4),
    ]
    assert list(count_rows(pa.table({"a": [1, 2]}))) == []
