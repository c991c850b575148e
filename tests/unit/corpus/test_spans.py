"""Cutting files out of documents."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.spans import Span, keep_files, keep_spans
from repoloom.corpus.tables import DOCUMENTS

CONTENT = st.binary(max_size=8)
FILES = st.lists(st.tuples(CONTENT, CONTENT, st.booleans()), max_size=6)


Files = list[tuple[bytes, bytes, bool]]
"""Path comment, content, and whether it stays."""


def document(files: Files) -> tuple[bytes, list[Span]]:
    text, spans = b"", []
    for number, (comment, content, _) in enumerate(files):
        if number:
            text += b"\n\n"
        head = len(text)
        start = head + len(comment)
        end = start + len(content)
        text += comment + content
        name = str(number)
        spans.append(Span(path=name, language="C", blob="b", sha256="s", size=1, head=head, start=start, end=end))
    return text + (b"\n" if files else b""), spans


def batch(documents: list[tuple[bytes, list[Span]]]) -> pa.RecordBatch:
    rows = [
        {"repo": f"r{n}", "revision": "", "document": 0, "domain": "code", "license": "", "text": text, "spans": spans}
        for n, (text, spans) in enumerate(documents)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)


@given(FILES)
def test_the_cut_document_is_the_document_of_the_files_that_stay(files: Files) -> None:
    text, spans = document(files)
    cut, moved = keep_spans(text, spans, [keep for *_, keep in files])
    expected, expected_spans = document([file for file in files if file[2]])
    assert cut == expected
    places = [(span["head"], span["start"], span["end"]) for span in moved]
    assert places == [(span["head"], span["start"], span["end"]) for span in expected_spans]
    assert [span["path"] for span in moved] == [str(n) for n, file in enumerate(files) if file[2]]


@given(FILES.filter(bool))
def test_each_file_keeps_its_content_and_its_path_comment(files: Files) -> None:
    text, spans = document(files)
    cut, moved = keep_spans(text, spans, [keep for *_, keep in files])
    for span in moved:
        comment, content, _ = files[int(span["path"])]
        assert cut[span["head"] : span["start"]] == comment
        assert cut[span["start"] : span["end"]] == content


def test_as_many_decisions_as_files() -> None:
    text, spans = document([(b"# a\n", b"a", True)])
    with pytest.raises(ValueError, match="zip"):
        keep_spans(text, spans, [])
    with pytest.raises(ValueError, match="2 decisions for 1 files"):
        keep_files(batch([(text, spans)]), np.array([True, False]))


@given(st.lists(FILES, max_size=4), st.integers(0, 2))
def test_a_batch_is_cut_document_by_document_and_empty_ones_vanish(documents: list[Files], skip: int) -> None:
    rows = batch([document(files) for files in documents]).slice(skip)
    documents = documents[skip:]
    keep = np.array([keep for files in documents for *_, keep in files], dtype=bool)
    cut = keep_files(rows, keep)
    assert cut.schema == DOCUMENTS
    left = [[file for file in files if file[2]] for files in documents]
    assert cut["text"].to_pylist() == [document(files)[0] for files in left if files]
