import contextlib

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import InputError, TooLargeError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, Span
from repoloom.protos.deduper.v1.deduper_pb2 import SignRequest
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.rpc.wire import check_parts

FILES = FilterFilesRequest.DESCRIPTOR


def test_rows_of_two_bytes_are_counted_before_they_are_parsed() -> None:
    with pytest.raises(TooLargeError, match="more than 1000 rows"):
        check_parts(b"\x12\x00" * 1001, FILES, 1000)
    check_parts(b"\x12\x00" * 1000, FILES, 1000)


def test_what_rows_hold_is_counted_too() -> None:
    request = SignRequest(documents=[{"repo": "a", "spans": [{"path": "p"}] * 600}] * 2).SerializeToString()
    with pytest.raises(TooLargeError):
        check_parts(request, SignRequest.DESCRIPTOR, 2000)
    check_parts(request, SignRequest.DESCRIPTOR, 2404)


TEXTS = st.sampled_from(["", "a", "a" * 60])
REQUESTS = st.lists(
    st.builds(
        Document, repo=TEXTS, text=TEXTS.map(str.encode), spans=st.lists(st.builds(Span, path=TEXTS), max_size=9)
    ),
    max_size=9,
).map(lambda documents: SignRequest(documents=documents))


def parts_of(message: Message) -> int:
    count = 0
    for field, value in message.ListFields():
        each = value if field.is_repeated else [value]
        count += len(each) if field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE) else 0
        count += sum(map(parts_of, each)) if field.message_type else 0
    return count


@given(REQUESTS, st.integers(0, 120))
def test_a_message_is_refused_for_its_parts_and_for_nothing_else(request: Message, most: int) -> None:
    if parts_of(request) > most:
        with pytest.raises(TooLargeError):
            check_parts(request.SerializeToString(), request.DESCRIPTOR, most)
    else:
        check_parts(request.SerializeToString(), request.DESCRIPTOR, most)


def test_a_group_hides_no_rows() -> None:
    with pytest.raises(TooLargeError):
        check_parts(b"\x9b\x06" + b"\x12\x00" * 1001 + b"\x9c\x06", FILES, 1000)


def test_a_broken_end_hides_no_rows() -> None:
    rows = b"\x12\x00" * 500
    with pytest.raises(InputError, match="ends within a field"):
        check_parts(b"\x12" + bytes([0x80 | len(rows) % 128, len(rows) // 128]) + rows + b"\x12\xff", FILES, 100)


@given(st.binary(max_size=300))
def test_of_any_bytes_only_input_errors_come(content: bytes) -> None:
    with contextlib.suppress(InputError):
        check_parts(content, FILES, 4)
