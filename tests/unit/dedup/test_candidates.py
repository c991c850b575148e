import itertools
from typing import Any

import pyarrow as pa
import pytest

from repoloom.stages.dedup.candidates import WINDOW, pairs_of
from repoloom.stages.dedup.tables import BANDED


def rows(bucket: int, names: list[str], words: int = 5) -> list[dict[str, Any]]:
    return [{"bucket": bucket, "words": words, "id": int(name), "repo": name} for name in names]


def pairs(*buckets: list[dict[str, Any]]) -> list[tuple[int, int]]:
    found = pairs_of(pa.Table.from_pylist(list(itertools.chain(*buckets)), BANDED))
    return [pair for left, right in found for pair in zip(left.tolist(), right.tolist(), strict=True)]


@pytest.mark.parametrize("count", range(2, 2 * WINDOW + 2))
def test_a_small_bucket_is_paired_in_full(count: int) -> None:
    names = [f"{number:04}" for number in range(count)]
    found = pairs(rows(1, names), rows(2, ["7777"]))
    assert sorted(found) == list(itertools.combinations(range(count), 2))


def test_a_hot_bucket_yields_a_fixed_number_of_pairs_a_repository() -> None:
    count = 1000
    found = pairs(rows(1, [f"{number:04}" for number in range(count)]))
    assert len(found) == len(set(found)) < 2 * WINDOW * count
    expected = {
        (left, right)
        for right in range(count)
        for left in [*range(WINDOW), *range(right - WINDOW, right)]
        if 0 <= left < right
    }
    assert set(found) == expected


def test_the_preferred_is_on_the_left_the_one_of_more_words_then_of_the_lesser_name() -> None:
    found = pairs(rows(1, ["0003"], words=9), rows(1, ["0002"], words=5), rows(1, ["0001"], words=5))
    assert sorted(found) == [(1, 2), (3, 1), (3, 2)]
