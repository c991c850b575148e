"""The page: one file, the same for the same data, in which hostile text stays text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.whole import whole

from repoloom.report.page import render

SECTIONS = ("dependencies", "duplicates", "quality", "contamination", "tokens", "training", "evaluation")


class Outline(HTMLParser):
    """The elements and the attributes' names of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}",
    "\"><img src=x onerror=alert(1)>'",
    "<!--",
    "{{ 7 * 7 }}{% raw %}",
    "]]></title></svg><script>",
    "&lt;&#x3c;script&gt;",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x00\x1b[31m\x7f\u0085\u2028",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_and_no_attribute(text: str) -> None:
    assert Outline(render(whole(text))).elements == Outline(render(whole("harmless"))).elements


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=30))
def test_no_text_at_all_adds_an_element(text: str) -> None:
    assert Outline(render(whole(f"a{text}"))).elements == Outline(render(whole("harmless"))).elements


def test_the_page_is_utf_8_whatever_it_is_told() -> None:
    render(whole("".join(HOSTILE))).encode()


def test_what_turns_the_direction_of_writing_is_spelled_out() -> None:
    page = render(whole("gnp.\u202eexe"))
    assert "\u202e" not in page
    assert "gnp.⟨202E⟩exe" in page


def test_equal_data_gives_equal_bytes() -> None:
    assert render(whole("a")) == render(whole("a"))


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else() -> None:
    page = render(whole("a"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy.replace("&#39;", "'") == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_nothing_on_the_page_can_be_fetched_or_is_styled_past_the_policy() -> None:
    attributes = {name for _, names in Outline(render(whole("a"))).elements for name in names}
    assert attributes.isdisjoint({"src", "srcset", "style", "action", "background", "onclick", "onload", "poster"})
    assert not re.search(r"url\(|@import|https?:", render(whole("a")))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_part_that_the_run_has_not_is_not_on_the_page(section: str) -> None:
    data = whole("a")
    assert f'id="{section}"' in render(data)
    assert f'id="{section}"' not in render(data.model_copy(update={section: None}))
    assert f'href="#{section}"' not in render(data.model_copy(update={section: None}))


def test_a_run_that_did_nothing_has_a_page_too() -> None:
    empty = whole("a").model_copy(update=dict.fromkeys([*SECTIONS, "funnel", "sources", "failures", "documents"]))
    text = "".join(Outline(render(empty)).text)
    assert "Provenance" in text
    assert "None" not in text


def test_the_headline_and_the_training_say_what_share_of_the_packed_tokens_was_read() -> None:
    text = "".join(Outline(render(whole("a"))).text)
    assert "trained on 1,170 tokens, 39.0% of those packed." in text
    assert "39 steps over 39 sequences (1,170 tokens, 39.0% of those packed)" in text


def test_the_evaluation_says_of_how_much_text_it_is_a_sample() -> None:
    data = whole("a")
    assert data.evaluation is not None
    assert "a sample of 9 B of the 36 B held out" in render(data)
    all_of_it = data.evaluation.model_copy(update={"held_out": 9})
    assert "a sample of" not in render(data.model_copy(update={"evaluation": all_of_it}))


def test_samples_are_said_to_take_turns_only_where_they_do() -> None:
    data = whole("a")
    assert data.evaluation is not None
    (differs,) = data.evaluation.samples
    both = (differs, differs.model_copy(update={"exact": True}))
    assert "in turn" not in render(data)
    taking_turns = data.evaluation.model_copy(update={"samples": both})
    assert "in turn" in render(data.model_copy(update={"evaluation": taking_turns}))


def test_counts_of_other_things_are_named_apart() -> None:
    data = whole("a")
    assert "4 files that 2 repositories list went in" in "".join(Outline(render(data)).text)
    assert "files taken" in render(data)
    assert "later steps leave" not in render(data)
    assert "one of 2 documents (later steps leave 1)" in render(data.model_copy(update={"documents": 1}))


def test_every_figure_says_in_words_what_it_shows() -> None:
    elements = Outline(render(whole("a"))).elements
    pictures = [names for tag, names in elements if tag == "svg" and "role" in names]
    assert pictures
    assert all("aria-label" in names for names in pictures)
