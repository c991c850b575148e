"""What a person should know of a run is said once, on the page and on the terminal, with a way out."""

import pytest
from report.written import DOCUMENTS, DROPPED, MIXTURE, Writer, document, dropped, row
from rich.console import Console

from repoloom.cli.progress import RunView
from repoloom.corpus.dataset import Dataset
from repoloom.report import gather, render
from repoloom.report.notices import notices


def mixed(write: Writer, available: dict[str, int], taken: int, **params: object) -> Dataset:
    weights = dict.fromkeys(available, 1 / len(available))
    rows = [
        row(MIXTURE, domain=domain, weight=weight, available=available[domain], taken=taken)
        for domain, weight in weights.items()
    ]
    return write("mix", {"mixture": (MIXTURE, rows)}, params={"weights": weights, **params})


def split(write: Writer, kept: str, lost: dict[str, int], fraction: float = 0.9) -> Dataset:
    rows = [
        dropped(language, f"{number}", "held_out", language=language)
        for language, files in lost.items()
        for number in range(files)
    ]
    documents = [document("stays", 0, ["x"], language=kept)]
    return write(
        "split",
        {"documents": (DOCUMENTS, documents), "dropped": (DROPPED, rows)},
        kept=("documents",),
        entering=(len(rows) + 1, 10 * len(rows) + 10),
        params={"fraction": fraction},
    )


def test_a_domain_that_holds_the_mix_back_is_named_with_what_it_costs_and_what_to_do(write: Writer) -> None:
    (notice,) = notices(mixed(write, {"code": 9_000, "english": 1_000}, 1_000))
    assert notice.sentence == (
        "The domain english holds the whole mix back. It has 1,000 tokens for a weight of 0.5, so the mix takes "
        "2,000 tokens where 10,000 could be had: 80.0% is left out. Lower mix.weights.english (at about 0.056 it no "
        "longer does), or add text to it."
    )


def test_a_mix_that_loses_little_or_has_all_that_was_wanted_says_nothing(write: Writer) -> None:
    assert not list(notices(mixed(write, {"code": 1_050, "english": 1_000}, 1_000)))
    assert not list(notices(mixed(write, {"code": 9_000, "english": 1_000}, 500, tokens=1_000)))


def test_a_language_that_is_held_out_altogether_is_named(write: Writer) -> None:
    (notice,) = notices(split(write, "Python", {"Zig": 3, "Python": 2}))
    assert notice.title == "Zig is held out altogether"
    assert notice.text.startswith("3 files (30 B) went to the evaluation")
    assert "split.fraction" in notice.text


def test_many_languages_are_one_notice_that_names_the_largest(write: Writer) -> None:
    (few,) = notices(split(write, "Python", {"Zig": 3, "Kotlin": 4, "Nim": 1}))
    assert few.title == "Kotlin, Zig and Nim are held out altogether"
    (many,) = notices(split(write, "Python", {f"L{number}": 20 - number for number in range(10)}))
    assert many.title == "L0, L1, L2, L3, L4, L5, L6, L7 and 2 other languages are held out altogether"


def test_a_split_that_keeps_some_of_every_language_says_nothing(write: Writer) -> None:
    assert not list(notices(split(write, "Python", {"Python": 3})))


def test_far_more_held_out_than_was_asked_for_is_told(write: Writer) -> None:
    (notice,) = notices(split(write, "Python", {"Python": 3}, fraction=0.1))
    assert notice.title == "75.0% of the bytes are held out, where split.fraction is 0.1"
    assert not list(notices(split(write, "Python", {"Python": 3}, fraction=0.4)))


def test_a_split_that_holds_nothing_out_is_told_unless_that_was_asked_for(write: Writer) -> None:
    (notice,) = notices(split(write, "Python", {}))
    assert notice.title == "No repository is held out, where split.fraction is 0.9"
    assert not list(notices(split(write, "Python", {}, fraction=0)))


def test_a_notice_stands_on_the_page_and_on_the_terminal_once(
    write: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    made = split(write, "Python", {"Zig": 3})
    assert render(gather("run", [made])).count("Zig is held out altogether") == 1
    RunView(Console(width=80)).made(made)
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("  warning: Zig is held out altogether. 3 files")] == shown[1:]
