from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.corpus.manifest import Part
from repoloom.errors import CorruptDataError
from repoloom.stages.dedup.numbers import spell
from repoloom.stages.dedup.partitions import (
    MOST_PARTITIONS,
    cut,
    distinct,
    ids_of,
    partitions_of,
    residents,
    rows_of,
)

sizes = st.lists(st.integers(1, 1 << 40), max_size=50)


def parts_of(sizes: Sequence[int]) -> list[Part]:
    return [Part(key=str(number), sha256="", bytes=size, rows=size) for number, size in enumerate(sizes)]


@given(sizes, st.integers(1, 1 << 40))
def test_partitions_are_all_parts_in_order_none_of_them_much_larger_than_a_task(
    sizes: list[int], task_bytes: int
) -> None:
    parts = parts_of(sizes)
    partitions = cut(parts, task_bytes)
    assert [part for partition in partitions for part in partition] == parts
    assert len(partitions) <= MOST_PARTITIONS
    width = max(task_bytes, sum(sizes) / MOST_PARTITIONS)
    for partition in partitions:
        assert partition
        assert sum(part.bytes for part in partition[1:]) <= width + 1


@pytest.mark.parametrize("count", [1, 1024, 5000])
def test_partitions_grow_in_number_up_to_the_most_that_can_be_told(count: int) -> None:
    partitions = cut(parts_of([7] * count), 1)
    assert min(count, 0.9 * MOST_PARTITIONS) <= len(partitions) <= MOST_PARTITIONS


@given(sizes, st.integers(1, 1 << 40))
def test_partitions_are_found_again_by_their_rows_alone(sizes: list[int], task_bytes: int) -> None:
    partitions = cut(parts_of(sizes), task_bytes)
    places = parts_of([sum(part.rows for part in partition) for partition in partitions])
    assert [list(found) for found in residents(parts_of(sizes), places)] == partitions


def test_partitions_of_other_signatures_are_refused() -> None:
    with pytest.raises(CorruptDataError, match=r"run dedup\.bands again"):
        list(residents(parts_of([3, 3]), parts_of([4, 2])))
    with pytest.raises(CorruptDataError, match=r"run dedup\.bands again"):
        list(residents(parts_of([3]), parts_of([4])))


@given(st.integers(0, MOST_PARTITIONS - 1), st.integers(1, MOST_PARTITIONS))
def test_a_number_is_the_sum_of_the_parts_that_spell_it(partition: int, partitions: int) -> None:
    numbers = parts_of([1 << bit for _ in range(2) for bit in range(11)])
    spelled = spell(numbers, partition, partitions)
    said = [sum(part.rows for part in spelled if (int(part.key) >= 11) == second) for second in (False, True)]
    assert said == [partition, partitions]


@given(st.integers(0, MOST_PARTITIONS - 1), st.integers(0, (1 << 32) - 100), st.integers(0, 99))
def test_an_id_says_partition_and_row(partition: int, start: int, count: int) -> None:
    ids = ids_of(partition, start, start + count)
    assert (partitions_of(ids) == partition).all()
    assert rows_of(ids).tolist() == list(range(start, start + count))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, (1 << 64) - 1) | st.integers(0, 3))))
def test_distinct_pairs_are_those_of_a_set(pairs: list[tuple[int, int]]) -> None:
    columns = np.array(pairs, np.uint64).reshape(-1, 2).T
    found = distinct(*columns)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == sorted(set(pairs))
