"""The accounts of a run, and the examples of what was dropped."""

from typing import Any

import pytest
from report.written import DROPPED, FILES, PIECES, PLACED, Writer, dropped, file, piece, row

from repoloom.corpus.dataset import Dataset
from repoloom.report.funnel import funnel
from repoloom.report.limits import Limits


def crawl_and_filter(write: Writer, drops: list[dict[str, Any]]) -> list[Dataset]:
    kept = [file("a", "one.py", size=30), file("a", "two.c", size=5, language="C")]
    crawled = [{**item, "language": ""} for item in kept]
    crawled += [file("a", str(place), size=item["size"], language="") for place, item in enumerate(drops)]
    sizes = sum(item["size"] for item in kept) + sum(item["size"] for item in drops)
    crawl = write("crawl", {"files": (FILES, crawled)}, kept=("files",), entering=(len(crawled), sizes))
    filtered = write(
        "filter",
        {"files": (FILES, kept), "dropped": (DROPPED, drops)},
        inputs=["files"],
        kept=("files",),
        entering=(len(crawled), sizes),
    )
    return [crawl, filtered]


def test_what_enters_a_step_is_what_it_kept_and_what_its_rules_dropped(write: Writer) -> None:
    drops = [
        dropped("a", "x.py", "vendored"),
        dropped("a", "y.py", "empty"),
        dropped("b", "y.c", "empty", language="C"),
    ]
    found = funnel(crawl_and_filter(write, drops), Limits())
    assert found is not None
    assert [passage.step for passage in found.passages] == ["crawl", "filter"]
    for passage in found.passages:
        assert passage.entering == sum((rule.dropped for rule in passage.rules), passage.kept)
    assert [(rule.name, rule.dropped.items) for rule in found.passages[1].rules] == [("empty", 2), ("vendored", 1)]
    assert found.columns == ("Python", "C")


def test_a_language_is_followed_from_where_it_was_told_to_the_end(write: Writer) -> None:
    drops = [dropped("a", "x.c", "empty", language="C", size=7), dropped("a", "y", "binary", language="")]
    found = funnel(crawl_and_filter(write, drops), Limits())
    assert found is not None
    assert [(its.name, its.seen.size, its.kept.size) for its in found.languages] == [("Python", 30, 30), ("C", 12, 5)]


def test_what_pieces_are_dropped_is_no_part_of_the_files_accounts(write: Writer) -> None:
    packed = write(
        "pack", {"placed": (PLACED, [row(PLACED, size=9)])}, inputs=["pieces"], kept=("placed",), entering=(1, 9)
    )
    tokenized = write("tokenize", {"pieces": (PIECES, [piece("a", 0, 0, 0, 9, 9)])}, inputs=["documents"])
    assert funnel([tokenized, packed], Limits()) is None


def test_the_examples_do_not_hang_on_the_order_of_the_rows(write: Writer) -> None:
    numbers = list(range(12))
    chosen = []
    for order in (numbers, numbers[::-1], numbers[5:] + numbers[:5]):
        drops = [dropped("a", f"{number}.py", "empty") for number in order]
        found = funnel(crawl_and_filter(write, drops), Limits(examples=3))
        assert found is not None
        chosen.append([example.path for example in found.passages[1].rules[0].examples])
    assert chosen[0] == chosen[1] == chosen[2]


@pytest.mark.parametrize("examples", [0, 1, 5])
def test_no_more_examples_are_held_than_the_limit(write: Writer, examples: int) -> None:
    drops = [dropped("a", f"{number}.py", rule) for number in range(8) for rule in ("empty", "vendored")]
    found = funnel(crawl_and_filter(write, drops), Limits(examples=examples))
    assert found is not None
    assert [len(rule.examples) for rule in found.passages[1].rules] == [examples, examples]


def test_an_example_says_what_was_measured_and_is_cut_to_the_limit(write: Writer) -> None:
    drops = [dropped("a", "x.py", "alphabetic", value=0.2, threshold=0.25, detail="d" * 1000, excerpt="e" * 1000)]
    found = funnel(crawl_and_filter(write, drops), Limits(characters=100))
    assert found is not None
    (example,) = found.passages[1].rules[0].examples
    assert (example.value, example.threshold) == (0.2, 0.25)
    assert (len(example.detail), len(example.excerpt)) == (100, 100)


def test_without_accounts_there_is_no_funnel(write: Writer) -> None:
    assert funnel([write("dedup.bands", {})], Limits()) is None
