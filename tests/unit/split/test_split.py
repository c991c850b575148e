import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink
from pydantic import ValidationError

from repoloom.corpus.manifest import Part
from repoloom.corpus.tables import DOCUMENTS
from repoloom.corpus.writing import count_rows
from repoloom.engine.step import Step
from repoloom.stages.split.step import HeldOut, HeldOutFiles, Split, SplitParams, is_held_out

CONTENTS = st.sampled_from([b"", b"import os\n", b"x = 1", b"\xe4\xb8\xad\n\n", b"def f():\n    return 1\n"])
CORPORA = st.lists(st.lists(st.lists(CONTENTS, max_size=4), min_size=1, max_size=3), max_size=8)
Corpus = list[list[list[bytes]]]  # repositories of documents of files


def _document(repo: str, number: int, files: Sequence[bytes]) -> dict[str, Any]:
    text, spans = b"", []
    for index, content in enumerate(files):
        head = b"# file%d\n" % index
        start = len(text) + len(head)
        spans.append(
            {
                "path": f"{number}/file{index}",
                "language": "Python",
                "blob": "",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "head": len(text),
                "start": start,
                "end": start + len(content),
            }
        )
        text += head + content + b"\n"
    cells = {"revision": "1", "domain": "code", "license": "MIT"}
    return {"repo": repo, "document": number, "text": text, "spans": spans, **cells}


def _documents(corpus: Corpus) -> pa.Table:
    rows = [
        _document(f"repo{repo}", number, files)
        for repo, documents in enumerate(corpus)
        for number, files in enumerate(documents)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def _sink(step: type[Step[SplitParams]]) -> MemorySink:
    sink = MemorySink()
    for table, schema in step.writes.items():
        sink.write(table, schema.empty_table())
    return sink


def _split(documents: pa.Table, params: SplitParams, batch_rows: int = 3) -> dict[str, pa.Table]:
    """The tables of all steps."""
    held, gathered, rest = _sink(HeldOut), _sink(HeldOutFiles), _sink(Split)
    HeldOut(params).run({"documents": MemoryReader(documents, batch_rows)}, held)
    HeldOutFiles(params).run({"heldout_files": MemoryReader(held.table("heldout_files"), batch_rows)}, gathered)
    files = MemoryReader(gathered.table("heldout_files"))
    Split(params).run({"documents": MemoryReader(documents, batch_rows), "heldout_files": files}, rest)
    return {
        "heldout": held.table("heldout"),
        "heldout_files": gathered.table("heldout_files"),
        "documents": rest.table("documents"),
        "dropped": rest.table("dropped"),
    }


def _files(documents: pa.Table) -> list[tuple[str, str, bytes]]:
    """Each file of some documents: its repository, its path, and its bytes in the text."""
    return [
        (row["repo"], span["path"], row["text"][span["start"] : span["end"]])
        for row in documents.to_pylist()
        for span in row["spans"]
    ]


PARAMS = st.builds(SplitParams, fraction=st.sampled_from([0.0, 0.2, 0.5, 0.9]), seed=st.integers(0, 50))


@settings(deadline=None)
@given(CORPORA, PARAMS)
def test_repositories_are_held_out_whole_and_copies_of_their_files_leave_the_rest(
    corpus: Corpus, params: SplitParams
) -> None:
    documents = _documents(corpus)
    tables = _split(documents, params)
    files = _files(documents)
    held = [file for file in files if is_held_out(file[0], params)]
    contents = {content for _, _, content in held}
    assert not any(is_held_out(repo, params) for repo in tables["documents"]["repo"].to_pylist())
    assert _files(tables["heldout"]) == held
    assert set(tables["heldout_files"]["sha256"].to_pylist()) == {hashlib.sha256(c).hexdigest() for c in contents}
    stays = [file for file in files if not is_held_out(file[0], params) and file[2] not in contents]
    assert _files(tables["documents"]) == stays
    rules = {(row["repo"], row["path"]): row["rule"] for row in tables["dropped"].to_pylist()}
    assert rules == {
        (repo, path): "held_out" if is_held_out(repo, params) else "copy_of_held_out"
        for repo, path, content in files
        if (repo, path, content) not in stays
    }


@settings(deadline=None)
@given(CORPORA, PARAMS)
def test_every_file_and_byte_is_kept_or_dropped(corpus: Corpus, params: SplitParams) -> None:
    documents = _documents(corpus)
    tables = _split(documents, params)

    def total(*names: pa.Table) -> tuple[int, int]:
        counts = [count for table in names if table.num_rows for count in count_rows(table)]
        return sum(count[2] for count in counts), sum(count[3] for count in counts)

    assert total(tables["documents"], tables["dropped"]) == total(documents)


@settings(deadline=None, max_examples=30)
@given(CORPORA, PARAMS)
def test_a_split_depends_on_no_batch(corpus: Corpus, params: SplitParams) -> None:
    documents = _documents(corpus)
    assert _split(documents, params, batch_rows=1) == _split(documents, params, batch_rows=1000)


def test_the_digests_of_held_out_files_are_gathered_by_one_task_each_once() -> None:
    parts = [Part(key=f"{number}", sha256="0" * 64, bytes=1 << 30, rows=1) for number in range(3)]
    assert list(HeldOutFiles(SplitParams()).plan({"heldout_files": parts}, task_bytes=1)) == [{"heldout_files": parts}]
    tables = _split(_documents([[[b"x = 1", b"x = 1"]]] * 40), SplitParams(fraction=0.5))
    assert tables["heldout"].num_rows > 1
    assert tables["heldout_files"]["sha256"].to_pylist() == [hashlib.sha256(b"x = 1").hexdigest()]


@given(CORPORA)
def test_a_fraction_of_nothing_holds_nothing_out(corpus: Corpus) -> None:
    documents = _documents(corpus)
    tables = _split(documents, SplitParams(fraction=0))
    assert tables["documents"] == documents
    assert [tables[name].num_rows for name in ("heldout", "heldout_files", "dropped")] == [0, 0, 0]


def test_about_the_wanted_share_of_repositories_is_held_out_and_a_larger_share_holds_them_too() -> None:
    names = [f"github/{number}" for number in range(20_000)]
    some = {name for name in names if is_held_out(name, SplitParams(fraction=0.1))}
    more = {name for name in names if is_held_out(name, SplitParams(fraction=0.2))}
    assert len(some) == pytest.approx(2000, abs=4 * 42)  # four standard deviations
    assert len(more) == pytest.approx(4000, abs=4 * 57)
    assert some < more
    assert some != {name for name in names if is_held_out(name, SplitParams(fraction=0.1, seed=1))}


@pytest.mark.parametrize("fraction", [-0.1, 1, float("nan")])
def test_a_fraction_that_leaves_nothing_or_makes_no_sense_is_refused(fraction: float) -> None:
    with pytest.raises(ValidationError):
        SplitParams(fraction=fraction)
