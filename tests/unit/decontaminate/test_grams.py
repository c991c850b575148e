import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.corpus.words import as_text
from repoloom.stages.decontaminate.grams import HITS_PER_FILE, TEMPLATE_ITEMS, Owners, Texts, find, index_texts

WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^\sA-Za-z0-9_\x80-\xff]")

contents = st.lists(st.sampled_from([b"alpha", b"beta", b"x", b"12", b"+", b" ", b"\n", b"\0", b"("]), max_size=60).map(
    b"".join
)


def texts(parts: list[bytes]) -> Texts:
    ends = np.cumsum([len(part) + 1 for part in parts], dtype=np.int64) - 1
    starts = ends - np.array([len(part) for part in parts], np.int64)
    return Texts(as_text(b"".join(part + b"\n" for part in parts)), starts, ends)


def search(benchmarks: list[bytes], files: list[bytes], items: list[int] | None = None) -> set[tuple[int, int]]:
    """Pairs of a file and a benchmark text, each text an item of its own benchmark unless told otherwise."""
    numbers = np.arange(len(benchmarks))
    owners = Owners(numbers, numbers) if items is None else Owners(np.zeros_like(numbers), np.array(items))
    hits = find(texts(files), index_texts(texts(benchmarks), owners))
    return {(int(file), int(row)) for file, row, _, _ in hits}


def tells(words: list[bytes]) -> bool:
    return any(len(word) > 1 and not word[:1].isdigit() for word in words)


def long_grams(content: bytes) -> set[tuple[bytes, ...]]:
    words = WORD.findall(content)
    return {tuple(words[i : i + 10]) for i in range(len(words) - 9) if tells(words[i : i + 10])}


def is_contaminated(content: bytes, benchmarks: list[bytes]) -> bool:
    """The plain definition."""
    for benchmark in benchmarks:
        words = list(WORD.finditer(benchmark))
        if len(words) >= 10 and long_grams(benchmark) & long_grams(content):
            return True
        if 3 <= len(words) < 10 and tells([word[0] for word in words[:3]]):
            whole = TOKEN.findall(benchmark[words[0].start() : words[-1].end()])
            tokens = TOKEN.findall(content)
            if any(tokens[i : i + len(whole)] == whole for i in range(len(tokens))):
                return True
    return False


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(st.lists(contents, max_size=4), st.lists(contents, max_size=4))
def test_the_files_found_are_those_of_the_plain_definition(benchmarks: list[bytes], files: list[bytes]) -> None:
    found = {file for file, _ in search(benchmarks, files)}
    assert found == {number for number, content in enumerate(files) if is_contaminated(content, benchmarks)}


def test_ten_words_in_a_row_are_found_in_any_layout_and_nine_are_not() -> None:
    benchmark = b"def add(first, second):\n    return first + second if first else second - 1"
    ten = b"x; def add ( first\t,second ) { return first+second if first; else }"
    nine = b"x; def add ( first\t,second ) { return first+second if first; otherwise }"
    assert search([benchmark], [ten, nine]) == {(0, 0)}


def test_a_short_text_is_found_only_as_a_whole_and_with_its_punctuation() -> None:
    benchmark = b"return n % 2 == 0"
    files = [
        b"if a:\n  return n%2==0\n",
        b"return n, 2, 0",
        b"return n % 2 == 01",
        b"return n % 2",
        b"xreturn n % 2 == 0",
    ]
    assert search([benchmark], files) == {(0, 0)}


@pytest.mark.parametrize("text", [b"return x", b"x", b"", b"+-*/", b"( )"])
def test_texts_of_fewer_than_three_words_find_nothing(text: bytes) -> None:
    assert search([text], [text, b"return x + y"]) == set()


def test_numbers_and_single_letters_alone_find_nothing() -> None:
    numbers = b"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert search([b"assert digits(9) == [" + numbers + b"]"], [numbers, b"a = digits(9) == [" + numbers]) == {(1, 0)}
    assert search([b"a, b, c"], [b"a, b, c"]) == set()


def test_what_stands_in_many_items_of_a_benchmark_is_its_template() -> None:
    header = b"import one import two import three import four import five "
    own = [b"solution number %d of all of these many different items that there are" % n for n in range(TEMPLATE_ITEMS)]
    benchmarks = [header + text for text in own]
    items = list(range(len(own)))
    assert search(benchmarks[1:], [header], items[1:]) == {(0, 0)}
    assert search(benchmarks, [header], items) == set()
    assert search(benchmarks, [own[3]], items) == {(0, 3)}


def test_words_are_not_joined_across_files() -> None:
    words = [b"one two three four five", b"six seven eight nine ten"]
    assert search([b" ".join(words)], words) == set()


def test_a_file_is_charged_with_a_few_texts_and_each_only_once() -> None:
    benchmarks = [b" ".join(b"text%d_word%d" % (text, word) for word in range(12)) for text in range(3 * HITS_PER_FILE)]
    copy = b"\n".join(benchmarks * 2)
    assert search(benchmarks, [b"", copy, benchmarks[5]]) == {(1, n) for n in range(HITS_PER_FILE)} | {(2, 5)}


def test_where_the_shared_words_stand_is_told() -> None:
    file = b"...  def add(first, second):\n    return   first + second if first ..."
    index = index_texts(
        texts([b"def add(first, second): return first + second if first"]), Owners(np.zeros(1), np.zeros(1))
    )
    _, _, start, stop = find(texts([b"", file]), index)[0]
    assert (b"\n" + file)[start:stop] == file[5:-4]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=3), st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes_are_searched(benchmarks: list[bytes], files: list[bytes]) -> None:
    search(benchmarks, files)


def test_a_file_of_one_word_of_many_megabytes_is_searched() -> None:
    assert search([b"a short text"], [b"x" * 20_000_000, b"\0" * 1_000_000, b"\xe4" * 1_000_000]) == set()
