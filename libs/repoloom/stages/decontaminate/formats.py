"""Reads the texts of a benchmark from the files that it is published in: JSON, JSON lines, either of them gzipped."""

import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from repoloom.errors import InputError

TEXT_FIELDS = frozenset(
    {
        *("prompt", "canonical_solution", "declaration", "test", "tests", "example_test"),  # HumanEval and kin
        *("text", "code", "test_list", "challenge_test_list"),  # MBPP
        *("question", "answer", "problem", "solution", "body", "input"),  # GSM8K, MATH, SVAMP, ASDiv, MAWPS
        *("reference_code", "code_context"),  # DS-1000
        *("prompt_sft",),  # LeetCode contests
    }
)
"""The fields, whatever their case, that hold what a model is asked, what it should answer, and what checks it."""

_GAPS = (("prompt", "canonical_solution", "suffix"), ("prompt", "groundtruth", "right_context"))
"""Before, in and after the gap of an infilling item (HumanEval infilling, CrossCodeEval). What lies around the gap is
most of a file, its licence and imports included: only what touches the answer is the item's own."""

_GAP_CONTEXT = 9  # words on either side of the gap: what 10 words in a row that touch it can reach
_WORD = re.compile(r"\w+")

_NAME_FIELDS = ("task_id", "name", "id", "idx")
_LIMIT = 1 << 30  # bytes, unpacked: test sets are some MB

_Row: TypeAlias = Mapping[str, object]


class BenchmarkText(NamedTuple):
    """One text of one item."""

    item: str
    field: str
    text: str


def read_texts(content: bytes, name: str, fields: Iterable[str] = ()) -> Iterator[BenchmarkText]:
    """The texts of a benchmark file, in its order.

    Args:
        content: the file; gzipped where it begins as gzip does.
        name: what an error calls it.
        fields: the fields to take. By default those of TEXT_FIELDS.

    Raises:
        InputError: the content is no JSON, no list of objects, or a wanted field is nowhere in it.
    """
    wanted = set(fields)
    seen: set[str] = set()
    for number, row in enumerate(_rows(_unpack(content, name), name)):
        item = next((str(row[field]) for field in _NAME_FIELDS if field in row), str(number))
        for field, value in (row if wanted else _without_gap(row)).items():
            if field in wanted if wanted else field.lower() in TEXT_FIELDS:
                seen.add(field)
                yield from (BenchmarkText(item, field, text) for text in _strings(value))
    if not seen or seen < wanted:
        missing = ", ".join(sorted(wanted - seen)) or "any field known to hold text"
        raise InputError(f"benchmark {name} has no {missing}; name the fields to take")


def _without_gap(row: _Row) -> _Row:
    """The row of an infilling item with one text in place of the three; any other row as it is."""
    for gap in _GAPS:
        before, inside, after = (row.get(field) for field in gap)
        if isinstance(before, str) and isinstance(inside, str) and isinstance(after, str):
            starts = [word.start() for word in _WORD.finditer(before)][-_GAP_CONTEXT:]
            ends = [word.end() for word in itertools.islice(_WORD.finditer(after), _GAP_CONTEXT)]
            text = before[starts[0] if starts else 0 :] + inside + after[: ends[-1] if ends else 0]
            return {**{field: value for field, value in row.items() if field not in gap}, "prompt": text}
    return row


def _strings(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _unpack(content: bytes, name: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"benchmark {name} is no valid gzip: {error}") from None
    if len(unpacked) > _LIMIT:
        raise InputError(f"benchmark {name} unpacks to more than {_LIMIT >> 20} MiB")
    return unpacked


def _rows(content: bytes, name: str) -> Iterator[_Row]:
    """The items of a list of objects, of an object of such lists, or of an object a line."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        whole = [_line(line, number, name) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    lists = list(whole.values()) if isinstance(whole, dict) else [whole]
    if not all(isinstance(rows, list) for rows in lists):
        lists = [[whole]]
    for row in (row for rows in lists for row in rows):
        if not isinstance(row, dict):
            raise InputError(f"benchmark {name} holds {type(row).__name__} where an item, an object, should be")
        yield row


def _line(line: bytes, number: int, name: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"benchmark {name} is neither JSON nor JSON lines: line {number}: {error}") from None
