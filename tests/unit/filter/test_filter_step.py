"""The filter step on tables."""

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink

from repoloom.corpus.tables import DROPPED, FILES
from repoloom.stages.filter import STEPS
from repoloom.stages.filter.rules import FilterParams
from repoloom.stages.filter.step import Filter

CODE = b"def add(first, second):\n    return first + second\n"


def table(*files: tuple[str, str, bytes]) -> pa.Table:
    rows = [
        {
            "repo": repo,
            "revision": "r",
            "path": path,
            "domain": "code",
            "language": "",
            "license": "MIT",
            "blob": "b",
            "sha256": "",
            "size": len(content),
            "content": content,
        }
        for repo, path, content in files
    ]
    return pa.Table.from_pylist(rows, schema=FILES)


def run(files: pa.Table, batch_rows: int = 3) -> tuple[pa.Table, pa.Table]:
    sink = MemorySink()
    Filter(FilterParams()).run({"files": MemoryReader(files, batch_rows)}, sink)
    return sink.table("files"), sink.table("dropped")


def test_the_stage_is_one_step() -> None:
    assert (Filter,) == STEPS


def test_what_stays_is_utf_8_with_language_and_digest_set_and_the_size_as_crawled() -> None:
    crawled = b"\xef\xbb\xbf" + CODE.replace(b"\n", b"\r\n")
    kept, dropped = run(table(("a", "x.py", crawled)))
    assert dropped.num_rows == 0
    assert kept.to_pylist() == [
        {
            "repo": "a",
            "revision": "r",
            "path": "x.py",
            "domain": "code",
            "language": "Python",
            "license": "MIT",
            "blob": "b",
            "sha256": hashlib.sha256(CODE).hexdigest(),
            "size": len(crawled),
            "content": CODE,
        }
    ]


def test_each_file_is_dropped_by_the_first_rule_it_fails() -> None:
    kept, dropped = run(
        table(
            ("a", "a.png", b"\x89PNG\0"),
            ("a", "b.py", b"\xff\xff"),
            ("a", "c.py", b"\n"),
            ("a", "d.unheard-of", CODE),
            ("a", "vendor/e.py", b"1" * 5000),
            ("a", "f.py", b"1" * 5000),
        )
    )
    assert kept.num_rows == 0
    rules = ["binary", "not_utf8", "empty", "language", "vendored", "average_line_length"]
    assert dropped["rule"].to_pylist() == rules
    assert dropped["language"].to_pylist() == ["", "", "", "", "Python", "Python"]
    assert dropped["value"].to_pylist() == [4.0, 0.0, 0.0, None, None, 5000.0]
    assert dropped["threshold"].to_pylist() == [None] * 5 + [100.0]


def test_a_copy_within_a_repository_is_dropped_for_the_first_one() -> None:
    kept, dropped = run(
        table(
            ("a", "x.py", CODE),
            ("a", "y.py", CODE.replace(b"\n", b"\r\n")),
            ("a", "z.py", CODE + b"\n"),
            ("a", "w.py", CODE),
            ("b", "x.py", CODE),
        ),
        batch_rows=2,
    )
    assert list(zip(kept["repo"].to_pylist(), kept["path"].to_pylist(), strict=True)) == [
        ("a", "x.py"),
        ("a", "z.py"),
        ("b", "x.py"),
    ]
    assert dropped.select(["path", "rule", "detail"]).to_pylist() == [
        {"path": "y.py", "rule": "exact_duplicate", "detail": "x.py"},
        {"path": "w.py", "rule": "exact_duplicate", "detail": "x.py"},
    ]


def test_a_dropped_file_is_nobodys_original() -> None:
    kept, dropped = run(table(("a", "vendor/x.py", CODE), ("a", "x.py", CODE)))
    assert kept["path"].to_pylist() == ["x.py"]
    assert dropped["rule"].to_pylist() == ["vendored"]


PATHS = st.sampled_from(["a.py", "b.h", "c.json", "vendor/d.js", "e.html", "f", "g.min.js", "h.md", "i.pl"])


@given(
    st.lists(st.tuples(st.sampled_from("ab"), PATHS, st.binary(max_size=60)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_the_ledger_balances_and_batches_do_not_matter(files: list[tuple[str, str, bytes]], batch_rows: int) -> None:
    files.sort(key=lambda file: file[0])
    crawled = table(*files)
    kept, dropped = run(crawled, batch_rows)
    assert kept.schema == FILES
    assert dropped.schema == DROPPED
    assert kept.num_rows + dropped.num_rows == len(files)
    sizes = kept["size"].to_pylist() + dropped["size"].to_pylist()
    assert sum(sizes) == sum(len(content) for *_, content in files)
    assert run(crawled, 100) == (kept.combine_chunks(), dropped.combine_chunks())
    for content in kept["content"].to_pylist():
        assert b"\0" not in content
        content.decode()


def test_one_line_of_a_hundred_megabytes_is_dropped() -> None:
    kept, dropped = run(table(("a", "x.py", b"x" * 100_000_000), ("a", "y.py", CODE)))
    assert kept["path"].to_pylist() == ["y.py"]
    assert [(row["path"], row["size"]) for row in dropped.to_pylist()] == [("x.py", 100_000_000)]
