"""From bytes to text."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.filter.decode import NotText, decode

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), min_size=1).map(
    lambda s: s + "x"
)


@given(TEXT)
def test_text_in_utf_8_is_left_as_it_is(text: str) -> None:
    assert decode(text.encode()) == text.encode()


@given(TEXT, st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_a_byte_order_mark_says_the_encoding_and_goes(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text.encode()


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_both_byte_orders_are_read(mark: bytes, encoding: str) -> None:
    assert decode(mark + "größer\r\n".encode(encoding)) == "größer\n".encode()


@given(st.text("ab\r\n", min_size=1).map(lambda s: s + "c"))
def test_line_breaks_become_newlines(text: str) -> None:
    assert decode(text.encode()) == text.replace("\r\n", "\n").replace("\r", "\n").encode()


@pytest.mark.parametrize(
    ("content", "rule", "offset"),
    [
        (b"ab\0cd", "binary", 2),
        (codecs.BOM_UTF16_LE + "a\0".encode("utf-16-le"), "binary", 1),
        ("größer".encode("latin-1"), "not_utf8", 2),
        (b"a\xed\xa0\x80", "not_utf8", 1),  # a surrogate of its own: WTF-8
        (b"\xed\xa0\xbd\xed\xb8\x80", "not_utf8", 0),  # a pair of them: CESU-8
        (b"\xc0\x80", "not_utf8", 0),  # overlong NUL: Modified UTF-8
        (codecs.BOM_UTF16_LE + b"a\0\x00\xd8", "not_utf8", 4),
        (codecs.BOM_UTF16_BE + b"\0a\0", "not_utf8", 4),
        (b"", "empty", 0),
        (codecs.BOM_UTF8, "empty", 0),
        (b" \t\r\n", "empty", 0),
        ("\u3000\n\u00a0".encode(), "empty", 0),
    ],
)
def test_what_is_no_text_says_why_and_where(content: bytes, rule: str, offset: int) -> None:
    refusal = decode(content)
    assert isinstance(refusal, NotText)
    assert (refusal.rule, refusal.offset) == (rule, offset)


@given(st.binary())
def test_whatever_comes_is_text_or_refused(content: bytes) -> None:
    text = decode(content)
    if isinstance(text, bytes):
        assert "\0" not in text.decode()
        assert b"\r" not in text
        assert decode(text) in (text, text.removeprefix(codecs.BOM_UTF8))
