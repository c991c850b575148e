"""Numbers as people read them, and hostile text made visible."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.report import wording
from repoloom.report.charts import ticks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (wording.size(0), "0 B"),
        (wording.size(999), "999 B"),
        (wording.size(12_345), "12.3 kB"),
        (wording.size(999_999), "1.00 MB"),
        (wording.size(49_000_000), "49.0 MB"),
        (wording.size(5e15), "5,000 TB"),
        (wording.compact(999_999), "999,999"),
        (wording.compact(1_312_512), "1.31 M"),
        (wording.compact(33_000_000_000), "33.0 B"),
        (wording.percent(0), "0%"),
        (wording.percent(0.000001), "<0.01%"),
        (wording.percent(0.0051), "0.51%"),
        (wording.percent(0.183), "18.3%"),
        (wording.percent(0.99999), ">99.9%"),
        (wording.percent(1), "100%"),
        (wording.passes(0.0716), "7.2%"),
        (wording.passes(1.00005), "100%"),
        (wording.passes(2.5), "2.5 epochs"),
        (wording.duration(0.84), "0.8 s"),
        (wording.duration(947.3), "15 min 47 s"),
        (wording.duration(3 * 3600 + 5 * 60), "3 h 5 min"),
        (wording.measure(0.2345678), "0.2346"),
        (wording.measure(1204.0), "1,204"),
        (wording.scientific(0.0003), "3e-4"),
        (wording.scientific(0), "0"),
        (wording.plural(1, "file"), "1 file"),
        (wording.plural(2000, "repository", "repositories"), "2,000 repositories"),
    ],
)
def test_numbers_read_as_people_write_them(text: str, expected: str) -> None:
    assert text == expected


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_holds_no_control_character(text: str) -> None:
    shown = wording.visible(text)
    assert all(unicodedata.category(character)[0] != "C" or character in "\n\t" for character in shown)
    assert wording.visible(shown) == shown


def test_a_change_of_direction_is_spelled_out() -> None:
    assert wording.visible("gnp.\u202eexe") == "gnp.⟨202E⟩exe"


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_the_levels_of_a_chart_span_its_values(low: float, span: float, count: int) -> None:
    levels = ticks(low, low + span, count)
    slack = 1e-6 * (abs(low) + span)
    assert levels == sorted(set(levels))
    assert levels[0] <= low + slack
    assert levels[-1] >= low + span - slack
    assert len(levels) <= count + 3
