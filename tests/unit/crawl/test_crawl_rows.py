import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from memory import MemorySink

from repoloom.stages.crawl import harvest
from repoloom.stages.crawl.errors import RepositoryTooLargeError, UnreadableSourceError
from repoloom.stages.crawl.limits import Budget, Limits
from repoloom.stages.crawl.rows import repositories
from repoloom.stages.crawl.sources import JsonlSource

ROWS = [
    {"repo": "forum/one", "path": "a.md", "content": "first\n"},
    {"repo": "forum/one", "path": "b\n.md", "content": "second ü\n"},
    {"repo": "two", "path": "../a", "content": "third\n"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return {"kind": "parquet", "path": str(path)}
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return {"kind": "jsonl", "path": str(path)}


@pytest.mark.parametrize("name", ["posts.jsonl", "posts.jsonl.gz", "posts.parquet"])
def test_the_rows_of_a_table_become_files_of_repositories(crawl: Any, tmp_path: Path, name: str) -> None:
    source = write(tmp_path / name, ROWS)
    found = crawl(**source, domain="english")
    kind = source["kind"]
    assert [(row["repo"], row["path"], row["content"], row["domain"]) for row in found.rows] == [
        (f"{kind}/posts/forum/one", "a.md", b"first\n", "english"),
        (f"{kind}/posts/forum/one", "b\\x0a.md", "second ü\n".encode(), "english"),
    ]
    assert found.rules == {"../a": "unsafe_path"}
    assert [row["repo"] for row in found.repositories] == [f"{kind}/posts/forum/one", f"{kind}/posts/two"]


@pytest.mark.parametrize("name", ["posts.jsonl", "posts.parquet"])
def test_without_such_columns_each_row_is_a_repository_of_one_file(crawl: Any, tmp_path: Path, name: str) -> None:
    source = write(tmp_path / name, [{"text": "a\n"}, {"text": "b\n"}])
    found = crawl(**source, repo="zh", columns={"repo": None, "path": None, "content": "text"})
    assert [(row["repo"], row["path"]) for row in found.rows] == [
        ("zh/000000000", "000000000"),
        ("zh/000000001", "000000001"),
    ]


def test_bytes_in_a_table_are_taken_as_they_are(crawl: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "x.parquet", [{"repo": "r", "path": "a", "content": b"\xe9\n"}])
    assert crawl(**source).contents == {"a": b"\xe9\n"}


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS, ROWS[0]],
        [{"repo": "r", "path": "a", "text": "x"}],
    ],
    ids=["apart", "no column"],
)
def test_a_table_that_cannot_be_meant_is_an_error(
    crawl: Any, tmp_path: Path, name: str, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(UnreadableSourceError):
        crawl(**write(tmp_path / name, rows))


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"repo": "r", "path": "a", "content": None}, "a"),
        ({"repo": None, "path": "a", "content": "x"}, "a"),
        ({"repo": "", "path": "a", "content": "x"}, "a"),
        ({"repo": "r", "path": None, "content": "x"}, "000000001"),
    ],
    ids=["no content", "null repository", "no repository", "no path"],
)
def test_a_row_without_text_is_dropped_and_the_others_are_taken(
    crawl: Any, tmp_path: Path, name: str, row: dict[str, Any], path: str
) -> None:
    found = crawl(**write(tmp_path / name, [ROWS[0], row, {"repo": "z", "path": "z", "content": "z\n"}]))
    assert set(found.files) == {"a.md", "z"}
    assert found.rules == {path: "unreadable"}


def test_a_line_that_is_no_json_is_dropped_and_the_others_are_taken(crawl: Any, tmp_path: Path) -> None:
    lines = [json.dumps({"repo": "a", "path": f"{i}.py", "content": "x = 1"}) for i in range(4)]
    lines.insert(2, "{not json")
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = crawl(kind="jsonl", path=str(tmp_path / "rows.jsonl"))
    assert set(found.files) == {"0.py", "1.py", "2.py", "3.py"}
    assert found.rules == {"000000002": "unreadable"}


def test_cells_of_another_type_are_dropped_too(crawl: Any, tmp_path: Path) -> None:
    found = crawl(**write(tmp_path / "x.jsonl", [ROWS[0], {"repo": [1], "path": 7, "content": {}}, {}]))
    assert set(found.files) == {"a.md"}
    assert found.rules == {"000000001": "unreadable", "000000002": "unreadable"}


@pytest.mark.parametrize("batch_bytes", [1, 1500, 1 << 20])
def test_of_a_table_only_the_repository_that_is_too_large_is_given_up(
    crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    monkeypatch.setattr(harvest, "_BATCH_BYTES", batch_bytes)
    rows = [
        {"repo": repo, "path": f"{repo}{number}", "content": "x" * 400}
        for repo, files in (("a", 2), ("large", 5), ("z", 1))
        for number in range(files)
    ]
    found = crawl(Limits(max_repository_bytes=1000), **write(tmp_path / "x.jsonl", rows))
    assert [row["path"] for row in found.rows] == ["a0", "a1", "z0"]
    assert found.rules == {f"large{number}": "repository_too_large" for number in range(5)}
    assert [(row["repo"], row["files"]) for row in found.repositories] == [
        ("jsonl/x/a", 2),
        ("jsonl/x/large", 0),
        ("jsonl/x/z", 1),
    ]


def test_a_compressed_bomb_ends_early_and_names_the_limit(crawl: Any, tmp_path: Path) -> None:
    row = b'{"repo": "r", "path": "a", "content": "%s"}\n' % (b"x" * 1_000_000)
    (tmp_path / "x.jsonl").write_bytes(zstandard.compress(row * 40))
    with pytest.raises(RepositoryTooLargeError, match="max_ratio"):
        crawl(kind="jsonl", path=str(tmp_path / "x.jsonl"))


def test_a_parquet_bomb_ends_early_and_names_the_limit(crawl: Any, tmp_path: Path) -> None:
    row = {"repo": "r", "path": "a", "content": "x" * 500_000}
    source = write(tmp_path / "x.parquet", [row] * 100)
    with pytest.raises(RepositoryTooLargeError, match="max_ratio"):
        crawl(**source)


@pytest.mark.parametrize("count", [1, 1024, 1025])
def test_repositories_are_written_many_at_a_time(tmp_path: Path, count: int) -> None:
    batches = []

    class Sink(MemorySink):
        def write(self, table: str, rows: pa.RecordBatch | pa.Table) -> None:
            if table == "repositories":
                batches.append(rows.num_rows)

    write(tmp_path / "x.jsonl", [{"repo": f"{i}", "path": "a", "content": "x\n"} for i in range(count)])
    source = JsonlSource(kind="jsonl", path=str(tmp_path / "x.jsonl"))
    taken = harvest.Harvest(source, Limits(), Sink(), tmp_path)
    for repository in repositories(source, tmp_path / "x.jsonl", Budget("x", Limits())):
        taken.take(repository)
    taken.finish()
    assert batches == ([count] if count <= 1024 else [1024, count - 1024])


@pytest.mark.parametrize(
    "content", [b"{", b"[]\n", b'{"repo": 1e999}\n', b"[" * 100_000 + b"\n", b"\xff\n", b"\x1f\x8b\x08"]
)
def test_lines_that_are_no_objects_are_an_error(crawl: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(UnreadableSourceError):
        crawl(kind="jsonl", path=str(tmp_path / "x.jsonl"))


def test_a_damaged_parquet_file_is_an_error(crawl: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "x.parquet", ROWS)
    whole = (tmp_path / "x.parquet").read_bytes()
    for content in (b"", whole[:-20], b"PAR1" + bytes(len(whole) - 8) + b"PAR1"):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(UnreadableSourceError):
            crawl(**source)


def test_an_endless_line_is_an_error_that_names_the_limit(crawl: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", [{"repo": "r", "path": "a", "content": "x" * 2000}])
    with pytest.raises(RepositoryTooLargeError, match="row 0 has more than 1000 bytes"):
        crawl(Limits(max_repository_bytes=1000), **source)
