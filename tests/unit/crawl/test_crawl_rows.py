import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repoloom.stages.crawl.errors import RepositoryTooLargeError, UnreadableSourceError
from repoloom.stages.crawl.limits import Limits

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
        [{"repo": "r", "path": "a", "content": None}],
        [{"repo": "", "path": "a", "content": "x"}],
        [{"repo": "r", "path": 7, "content": "x"}],
    ],
    ids=["apart", "no column", "no content", "no repository", "no text"],
)
def test_a_table_that_cannot_be_meant_is_an_error(
    crawl: Any, tmp_path: Path, name: str, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(UnreadableSourceError):
        crawl(**write(tmp_path / name, rows))


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
