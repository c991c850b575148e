"""The step: every file of every repository in exactly one document, byte for byte, dependencies first."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink

from repoloom.corpus.tables import DOCUMENTS, FILES
from repoloom.prompts.path_header import path_header
from repoloom.stages.order import documents
from repoloom.stages.order.step import CYCLES, EDGES, Order, OrderParams

Row = dict[str, Any]


def file(
    path: str,
    content: bytes,
    repo: str = "git/x",
    language: str = "Python",
    domain: str = "code",
    license: str = "MIT",  # noqa: A002
) -> Row:
    return {
        "repo": repo,
        "revision": "r1",
        "path": path,
        "domain": domain,
        "language": language,
        "license": license,
        "blob": hashlib.sha1(content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content) + 3,  # as crawled
        "content": content,
    }


def run(rows: Sequence[Row], params: OrderParams | None = None, batch_rows: int = 100) -> dict[str, list[Row]]:
    table = pa.Table.from_pylist(list(rows), schema=FILES)
    chunked = pa.Table.from_batches(table.to_batches(max_chunksize=batch_rows), schema=FILES)
    sink = MemorySink()
    Order(params or OrderParams()).run({"files": MemoryReader(chunked)}, sink)
    written = {}
    for name, schema in (("documents", DOCUMENTS), ("edges", EDGES), ("cycles", CYCLES)):
        written[name] = sink.table(name) if sink.table(name).num_columns else schema.empty_table()
        assert written[name].schema == schema
    return {name: table.to_pylist() for name, table in written.items()}


def paths(document: Row) -> list[str]:
    return [span["path"] for span in document["spans"]]


REPOSITORY = [
    file("app/main.py", b"from app import util\nimport app.model\n"),
    file("app/util.py", b"x = 1\n"),
    file("app/model.py", b"from .util import x\n"),
    file("app/__init__.py", b""),
    file("README.md", b"# Title\n", language="Markdown", domain="english"),
]


def test_a_document_is_a_connected_subgraph_with_dependencies_first() -> None:
    found = run(REPOSITORY)
    assert [(row["document"], paths(row), row["domain"]) for row in found["documents"]] == [
        (0, ["README.md"], "english"),
        (1, ["app/__init__.py"], "code"),
        (2, ["app/util.py", "app/model.py", "app/main.py"], "code"),
    ]
    assert [tuple(row.values()) for row in found["edges"]] == [
        ("git/x", "app/main.py", "app/model.py", 2, "package"),
        ("git/x", "app/main.py", "app/util.py", 1, "package"),
        ("git/x", "app/model.py", "app/util.py", 1, "relative"),
    ]
    assert found["cycles"] == []


def test_the_text_has_each_file_below_its_path_comment() -> None:
    texts = [row["text"] for row in run(REPOSITORY)["documents"]]
    assert texts == [
        b"# Title\n",
        b"# app/__init__.py\n",
        b"# app/util.py\nx = 1\n\n# app/model.py\nfrom .util import x\n\n"
        b"# app/main.py\nfrom app import util\nimport app.model\n",
    ]


def test_cycles_are_reported_and_still_ordered() -> None:
    rows = [file("a.py", b"import b"), file("b.py", b"import c"), file("c.py", b"import a, d"), file("d.py", b"")]
    found = run(rows)
    assert found["cycles"] == [{"repo": "git/x", "files": 3, "paths": ["a.py", "b.py", "c.py"]}]
    assert [paths(row) for row in found["documents"]] == [["d.py", "a.py", "c.py", "b.py"]]


def test_repositories_do_not_see_one_another() -> None:
    found = run([file("a.py", b"import b", repo="one"), file("b.py", b"", repo="two")])
    assert [(row["repo"], row["document"], paths(row)) for row in found["documents"]] == [
        ("one", 0, ["a.py"]),
        ("two", 0, ["b.py"]),
    ]
    assert found["edges"] == []


def test_a_document_is_under_all_the_licences_of_its_files() -> None:
    rows = [file("a.py", b"import b", license="MIT OR Zlib"), file("b.py", b"import c", license=""), file("c.py", b"")]
    assert [row["license"] for row in run(rows)["documents"]] == ["MIT AND (MIT OR Zlib)"]


def test_random_order_keeps_the_documents_and_depends_on_the_seed_and_repository_alone() -> None:
    rows = [file("hub.py", b"")] + [file(f"f{n}.py", b"import hub") for n in range(20)]
    ordered = run(rows)["documents"]
    drawn = [
        run(rows, OrderParams(mode="random", seed=seed), batch)["documents"]
        for seed, batch in ((1, 2), (1, 50), (2, 2))
    ]
    elsewhere = run([row | {"repo": "git/y"} for row in rows], OrderParams(mode="random", seed=1))["documents"]
    assert drawn[0] == drawn[1]
    orders = [tuple(paths(found[0])) for found in (ordered, drawn[0], drawn[2], elsewhere)]
    assert len(set(orders)) == 4
    assert len({frozenset(order) for order in orders}) == 1


def test_a_document_longer_than_a_column_holds_is_cut_between_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "DOCUMENT_BYTES", 100)
    monkeypatch.setattr(documents, "BATCH_BYTES", 150)
    rows = [file("hub.py", b"#" * 60)] + [file(f"f{n}.py", b"import hub\n" + b"#" * 20) for n in range(5)]
    found = run(rows)["documents"]
    assert [row["document"] for row in found] == list(range(len(found)))
    assert [path for row in found for path in paths(row)] == ["hub.py", *(f"f{n}.py" for n in range(5))]
    assert all(len(row["text"]) <= 100 or len(row["spans"]) == 1 for row in found)


hostile_files = st.builds(
    file,
    path=st.sampled_from(["a.py", "a.py", "b.py", "pkg/a.py", "x\n\x00*/-->.py", "../a.py", "/", "", "ünï/é.py"]),
    content=st.binary(max_size=40)
    | st.sampled_from([b"import a", b"import b", b"from . import a", b"from pkg import a"]),
    repo=st.just("git/x"),
    language=st.sampled_from(["Python", "CSS", "HTML", "Markdown", "OCaml", "JSON"]),
    domain=st.sampled_from(["code", "code", "code", "english"]),
    license=st.sampled_from(["MIT", "", "GPL-2.0-only OR MIT"]),
)


@given(st.lists(hostile_files, max_size=12), st.integers(1, 4), st.sampled_from(["dependency", "random"]))
def test_every_file_lies_in_exactly_one_span_byte_for_byte(rows: list[Row], batch_rows: int, mode: Any) -> None:
    found = run(rows, OrderParams(mode=mode), batch_rows)["documents"]
    seen = []
    for document in found:
        end = 0
        for span in document["spans"]:
            assert document["text"][end : span["head"]] in (b"", b"\n")
            assert (span["head"] == 0) == (end == 0 and span is document["spans"][0])
            header = path_header(span["path"], span["language"]).encode() if document["domain"] == "code" else b""
            assert document["text"][span["head"] : span["start"]] == header
            content = document["text"][span["start"] : span["end"]]
            seen.append((*(span[name] for name in ("path", "language", "blob", "sha256", "size")), content))
            end = span["end"]
        assert end == len(document["text"])
    every = [tuple(row[name] for name in ("path", "language", "blob", "sha256", "size", "content")) for row in rows]
    assert sorted(seen) == sorted(every)
    assert [document["document"] for document in found] == list(range(len(found)))


def test_a_repository_of_very_many_tiny_files_is_ordered() -> None:
    count = 100_000
    files = [file(f"src/m{number}.py", b"import m%d\n" % (number + 1)) for number in range(count)]
    (document,) = run(files, batch_rows=10_000)["documents"]
    assert paths(document) == [f"src/m{number}.py" for number in reversed(range(count))]


def test_documents_are_handed_out_in_batches_that_a_reader_can_hold() -> None:
    rows = pa.Table.from_pylist([file(f"{n}.txt", bytes(3 << 20), domain="english") for n in range(8)], schema=FILES)
    sizes = [
        sum(len(text.as_py()) for text in batch["text"])
        for batch in documents.write_documents(rows, documents.read_files(rows), [[number] for number in range(8)])
    ]
    assert sum(sizes) == 8 * (3 << 20)
    assert max(sizes) <= 8 << 20
