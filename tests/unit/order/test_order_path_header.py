"""Path headers: a comment in the language's own syntax that no path can leave."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.languages import LANGUAGES, PROSE
from repoloom.errors import InputError
from repoloom.prompts.path_header import path_header

NAMES = [language.name for language in (*LANGUAGES, *PROSE)]


@pytest.mark.parametrize(
    ("language", "header"),
    [
        ("Python", "# src/a b.x\n"),
        ("C++", "// src/a b.x\n"),
        ("CSS", "/* src/a b.x */\n"),
        ("HTML", "<!-- src/a b.x -->\n"),
        ("OCaml", "(* src/a b.x *)\n"),
        ("SQL", "-- src/a b.x\n"),
        ("JSON", "// src/a b.x\n"),
        ("Text", "# src/a b.x\n"),
        ("", "# src/a b.x\n"),
    ],
)
def test_the_path_stands_in_a_comment_of_its_language(language: str, header: str) -> None:
    assert path_header("src/a b.x", language) == header


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(NAMES))
def test_a_header_is_one_line_of_utf8_whatever_the_path(path: str, language: str) -> None:
    header = path_header(path, language)
    assert header.encode().decode().splitlines() == [header[:-1]]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", header)


@given(st.text(alphabet="*/-!<>(){}[]|#\"'=%?:\\ u0a"), st.sampled_from(NAMES))
def test_no_path_ends_its_comment(path: str, language: str) -> None:
    known = next(each for each in (*LANGUAGES, *PROSE) if each.name == language)
    header = path_header(path, language)
    if known.line_comment:
        assert not header[:-1].endswith(("\\", "??/"))
        assert not any(mark in header for mark in ("?>", "%>", "\\u"))
    elif known.block_comment:
        opening, closing = known.block_comment
        assert header.startswith(opening + " ")
        assert header.endswith(closing + "\n")
        inside = header[len(opening) : -len(closing) - 1]
        assert opening not in inside
        assert closing not in inside
        assert opening != "<!--" or "--" not in inside


def test_an_ordinary_path_is_left_as_it_is() -> None:
    path = "größe/日本語/with space-and_dots.v2 (copy)[1].py"
    assert path_header(path, "Python") == f"# {path}\n"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="Klingon"):
        path_header("a.py", "Klingon")
