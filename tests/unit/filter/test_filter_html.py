"""The visible text of HTML pages."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.filter.html import visible_characters, visible_text


class Visible(HTMLParser):
    """The same by the standard library's parser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.text += data

    def handle_entityref(self, name: str) -> None:  # noqa: ARG002
        self.text += "?"

    handle_charref = handle_entityref


PIECES = st.sampled_from(
    [
        "<!DOCTYPE html>",
        "<p>",
        '<a href="x">',
        "</a>",
        "<br/>",
        "text ",
        "ü",
        "1 < 2",
        "&amp;",
        "&#233;",
        "<!-- <b> hidden -->",
        "<script>var a = '<p>';</script>",
        "<STYLE>p { color: red }</STYLE>",
        "\n",
    ]
)


@given(st.lists(PIECES).map("".join))
def test_the_visible_text_is_what_a_parser_reads(page: str) -> None:
    parser = Visible()
    parser.feed(page)
    parser.close()
    assert visible_text(page.encode()).decode() == parser.text
    assert visible_characters(page.encode()) == len(parser.text)


@pytest.mark.parametrize("page", ["a<!-- b", "a<script>b</scrip", "a<p b", "a<style>"])
def test_what_is_left_open_hides_the_rest(page: str) -> None:
    assert visible_text(page.encode()) == b"a"


@pytest.mark.parametrize("unit", ["<!--", "<script>", "<", "<p", "&", "&a", "<div>", "</script", "<style></"])
def test_no_page_is_gone_over_again_and_again(unit: str) -> None:
    visible_characters(unit.encode() * (4_000_000 // len(unit)))
