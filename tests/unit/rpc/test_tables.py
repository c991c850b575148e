import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import InputError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File, Span
from repoloom.rpc.tables import documents, messages, raw_files, text_files

TEXTS = st.one_of(
    st.text("aé漢\U0001f600\n", max_size=6).map(str.encode),
    st.lists(st.sampled_from([b"a", b"\0", b"\xff", b"\xc3", b"\xa9"]), max_size=3).map(b"".join),
)
PLACES = st.integers(-1, 14)
SPANS = st.builds(
    Span,
    path=st.sampled_from(["p", "q"]),
    language=st.sampled_from(["Python", "Python", "Python", "Pyhton"]),
    size=st.sampled_from([0, 5, 5, 5, -1]),
    head=PLACES,
    start=PLACES,
    end=PLACES,
)


def in_order(document: Document) -> Document:
    """The document with the places of its spans in order, so that many are right."""
    places = sorted(place for span in document.spans for place in (span.head, span.start, span.end))
    for number, span in enumerate(document.spans):
        span.head, span.start, span.end = places[3 * number : 3 * number + 3]
    return document


ANY = st.builds(
    Document,
    repo=st.sampled_from(["a", "b", "b", ""]),
    document=st.sampled_from([0, 1, 2, -1]),
    domain=st.just("code"),
    text=TEXTS,
    spans=st.lists(SPANS, max_size=2),
)
DOCUMENTS = st.lists(st.one_of(ANY, ANY.map(in_order)), max_size=3)


def is_right(document: Document) -> bool:
    try:
        document.text.decode()
    except UnicodeDecodeError:
        return False
    before, length = 0, len(document.text)
    for span in document.spans:
        if not before <= span.head <= span.start <= span.end <= length or span.size < 0 or span.language != "Python":
            return False
        for place in (span.head, span.start, span.end):
            try:
                document.text[place:].decode()
            except UnicodeDecodeError:
                return False
        before = span.end
    return bool(document.repo) and document.document >= 0 and b"\0" not in document.text


@given(DOCUMENTS)
def test_documents_are_taken_where_each_of_them_is_right_and_come_back_as_they_were(given: list[Document]) -> None:
    if all(map(is_right, given)):
        assert list(messages(documents(given), Document)) == given
    else:
        with pytest.raises(InputError):
            documents(given)


def test_what_is_wrong_is_named() -> None:
    right = Document(repo="a", text="é".encode(), spans=[{"path": "p", "language": "Python", "end": 2}])
    wrong = Document(repo="b", document=7, text="aé".encode(), spans=[{"path": "p", "language": "Python", "end": 1}])
    wrong.spans.add(path="q", language="Python", head=1, start=2, end=3)
    with pytest.raises(InputError, match="b: document 7: the span of 'q' begins or ends within a character"):
        documents([right, wrong])
    wrong.spans[1].start = 4
    with pytest.raises(InputError, match="the span of 'q' does not hold 1 <= head 1 <= start 4 <= end 3"):
        documents([right, wrong])
    wrong.text = b"a\xff"
    with pytest.raises(InputError, match="b: document 7 is not UTF-8 at byte 1"):
        documents([right, wrong])


@given(st.lists(st.binary(max_size=4), max_size=4))
def test_any_bytes_are_files_as_they_were_crawled_and_text_is_as_the_filter_leaves_it(contents: list[bytes]) -> None:
    files = [File(repo="a", path=f"{at}", language="Python", content=content) for at, content in enumerate(contents)]
    assert raw_files(files)["content"].to_pylist() == contents
    try:
        is_text = b"\0" not in b"".join(contents) and all(content.decode() is not None for content in contents)
    except UnicodeDecodeError:
        is_text = False
    if is_text:
        assert text_files(files).equals(raw_files(files))
    else:
        with pytest.raises(InputError):
            text_files(files)
