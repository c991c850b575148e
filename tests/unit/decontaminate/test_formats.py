import gzip
import json

import pytest

from repoloom.errors import InputError
from repoloom.stages.decontaminate.formats import BenchmarkText, read_texts

ITEMS = [{"task_id": "T/0", "prompt": "p0", "level": 5}, {"task_id": "T/1", "prompt": "p1", "test": ["t", 3, "u"]}]
TEXTS = [
    BenchmarkText("T/0", "prompt", "p0"),
    BenchmarkText("T/1", "prompt", "p1"),
    BenchmarkText("T/1", "test", "t"),
    BenchmarkText("T/1", "test", "u"),
]
LINES = "\n".join(map(json.dumps, ITEMS)).encode() + b"\n\n"


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        json.dumps(ITEMS).encode(),
        json.dumps({"easy": ITEMS[:1], "hard": ITEMS[1:]}, indent=1).encode(),
        gzip.compress(LINES, mtime=0),
    ],
    ids=["lines", "list", "lists by name", "gzip"],
)
def test_every_format_gives_the_same_texts(content: bytes) -> None:
    assert list(read_texts(content, "b")) == TEXTS


def test_a_single_item_is_a_benchmark_too() -> None:
    assert list(read_texts(json.dumps(ITEMS[1]).encode(), "b")) == TEXTS[1:]


def test_an_item_without_a_name_has_its_number() -> None:
    assert [text.item for text in read_texts(b'[{"prompt": "a"}, {"prompt": "b"}]', "b")] == ["0", "1"]


def test_the_wanted_fields_are_taken_and_no_other() -> None:
    content = b'[{"prompt": "a", "Own Field": "b"}]'
    assert list(read_texts(content, "b", ["Own Field"])) == [BenchmarkText("0", "Own Field", "b")]


def test_of_an_item_with_a_gap_only_what_touches_the_answer_is_taken() -> None:
    item = {"prompt": "licence " * 50 + "x = ", "groundtruth": "answer(1)", "right_context": "\ny = 2\n" + "rest " * 50}
    (text,) = read_texts(json.dumps([item]).encode(), "b")
    assert text.text == "licence " * 8 + "x = answer(1)\ny = 2\n" + ("rest " * 7).strip()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has no any field|no any|has no"),
        (b"not json", "neither JSON nor JSON lines: line 1"),
        (LINES + b"{", "line 4"),
        (b"[1]", "holds int"),
        (b"[]", "name the fields"),
        (b'[{"id": 1}]', "name the fields"),
        (b"[" * 100_000, "neither JSON"),
        (b"\xff\xfe\xff", "neither JSON"),
        (gzip.compress(LINES, mtime=0)[:-9], "no valid gzip"),
        (b"\x1f\x8b\x08rubbish", "no valid gzip"),
    ],
)
def test_what_is_no_benchmark_is_refused_in_one_line(content: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        list(read_texts(content, "mine"))
    assert "mine" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wanted_field_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(InputError, match="has no wrong"):
        list(read_texts(LINES, "b", ["prompt", "wrong"]))
