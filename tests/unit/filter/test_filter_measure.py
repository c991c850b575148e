"""What texts measure, against the plain definitions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.filter import measure

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\nab1 "), min_size=1)


@given(TEXT)
def test_characters_are_unicode_characters(text: str) -> None:
    assert measure.characters(text.encode()) == len(text)


@given(TEXT)
def test_lines_are_what_newlines_end(text: str) -> None:
    lengths = [len(line) for line in text.removesuffix("\n").split("\n")]
    average, longest = measure.lines(text.encode())
    assert average == pytest.approx(sum(lengths) / len(lengths))
    assert longest == max(lengths)


@given(TEXT)
def test_letters_are_unicode_letters(text: str) -> None:
    assert measure.alphabetic(text.encode()) == sum(map(str.isalpha, text)) / len(text)


@given(st.lists(st.sampled_from(["A" * 63, "b+/=\n" * 13, " ", "!", "é", "0"]), min_size=1).map("".join))
def test_base64_is_what_starcoder2s_pattern_finds(text: str) -> None:
    runs = [len(run) for run in re.findall(r"[a-zA-Z0-9+/\n=]{64,}", text)]
    found = measure.encoded(text.encode())
    assert found.longest == max(runs, default=0)
    assert found.share == sum(runs) / len(text.encode())


@pytest.mark.parametrize("unit", ["0x1f, ", "\\x1f", "0x1F,\n    ", "\\u00e9", "0xDEADBEEFul,"])
def test_escapes_are_encoded_data_from_eight_in_a_row_on(unit: str) -> None:
    assert measure.encoded(f"a = {{{unit * 8}}}".encode()).longest >= 8 * len(unit.rstrip())
    assert measure.encoded(f"a = {{{unit * 7}}}".encode()).longest == 0


@pytest.mark.parametrize("unit", [b"0x", b"0x11" + b" " * 9, b"\\x11 ", b"\\u12", b"A" * 63 + b" ", b"\n", b"a"])
def test_measures_stay_linear(unit: bytes) -> None:
    text = unit * (4_000_000 // len(unit))
    measure.encoded(text)
    measure.lines(text)
    measure.alphabetic(text)
