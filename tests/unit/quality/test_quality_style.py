"""Features of style and their score."""

import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.languages import LANGUAGES, PROSE
from repoloom.stages.quality import style
from repoloom.stages.quality.style import RAMPS, UNSCORED, Ramp, features, score

NAMES = [language.name for language in (*LANGUAGES, *PROSE)]
CODE = b'''"""Adds."""


def add(first: int, second: int) -> int:
    """The sum."""
    return first + second


def double(number: int) -> int:
    return add(number, number)
'''


def test_ordinary_code_loses_nothing() -> None:
    assert score(CODE, "Python")[0] == 1


def test_this_very_projects_code_loses_nothing() -> None:
    assert score(Path(style.__file__).read_bytes(), "Python")[0] == 1


def letters(seed: int, count: int) -> bytes:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=count)).encode()


@pytest.mark.parametrize(
    ("text", "language", "worst"),
    [
        (b"# one word and another\n" * 9 + b"#", "Python", "comments 1"),
        (b"/* " + b"a word, " * 50 + b"*/", "C", "comments 1"),
        (CODE * 50, "Python", "repetition 0.98"),
        (b"".join(b"table(%d, %d)\n" % (n, n * 7919 + 10**19) for n in range(1000)), "Python", "digits"),
        (b"".join(b"a%d=b[c](d);e=f\n" % n for n in range(100)), "JavaScript", "short_words 1"),
        (b"".join(letters(n, 40) + b" = 1\n" for n in range(10)), "Python", "long_words 40"),
        (b"".join(b"call(word, %s)\n" % letters(n, 6) for n in range(4000)), "Python", "paragraph 4e+03"),
    ],
)
def test_what_hardly_is_code_has_a_reason(text: bytes, language: str, worst: str) -> None:
    value, reason = score(text, language)
    assert value < 0.2
    assert reason.startswith(worst)


def test_data_and_prose_are_not_scored() -> None:
    for language in UNSCORED:
        assert score(CODE * 50, language) == (1.0, "")


@given(st.lists(st.sampled_from([b"a = 1", b"  b", b"", b"\tb", b"c d e"])))
def test_repetition_is_the_share_of_bytes_in_repeated_lines(lines: list[bytes]) -> None:
    bare = [line.strip() for line in lines]
    visible = sum(map(len, bare))
    repeated = sum(len(line) for number, line in enumerate(bare) if line in bare[:number])
    assert features(b"\n".join(lines), "C")["repetition"] == pytest.approx(repeated / visible if visible else 1)


@given(st.text("ab_1 \n"))
def test_words_are_runs_of_letters_and_underscores(text: str) -> None:
    words = "".join(c if c.isalpha() or c == "_" else " " for c in text).split()
    expected = sum(map(len, words)) / len(words) if words else 5
    assert features(text.encode(), "C")["long_words"] == pytest.approx(expected)


@given(st.binary(max_size=300), st.sampled_from(NAMES))
def test_any_text_has_a_score_between_0_and_1(text: bytes, language: str) -> None:
    value, _ = score(text, language)
    assert 0 <= value <= 1


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_worse_feature_is_never_worth_more(first: float, second: float) -> None:
    ramp = Ramp(ordinary=0.5, hopeless=2.0)
    assert ramp(max(first, second)) <= ramp(min(first, second))
    assert (ramp(0.5), ramp(2.0)) == (1.0, 0.0)


def test_the_features_are_those_that_have_a_ramp() -> None:
    assert features(CODE, "Python").keys() == RAMPS.keys()


@pytest.mark.parametrize("unit", [b"/*", b"/* */", b"\n", b"//", b" ", b"a", b"1\n", b'"""', b"=begin"])
@pytest.mark.parametrize("language", ["C", "Python", "Ruby"])
def test_features_stay_linear(unit: bytes, language: str) -> None:
    features(unit * (1_000_000 // len(unit)), language)
