import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.stages.dedup.banding import best_banding
from repoloom.stages.dedup.similarity import compare, compare_rows

SIZE = 64

small_sets = st.sets(st.integers(0, 40), min_size=1, max_size=SIZE - 1)


def sketch(members: set[int], size: int = SIZE) -> np.ndarray:
    return np.array(sorted(members)[:size], np.uint64)


@settings(deadline=None)  # the first call compiles
@given(small_sets, small_sets)
def test_the_similarity_of_sets_that_fit_their_sketches_is_exact(one: set[int], other: set[int]) -> None:
    both, union = compare(sketch(one), sketch(other), SIZE)
    assert (both, union) == (len(one & other), len(one | other))


@pytest.mark.parametrize("similarity", [0.3, 0.7, 0.85, 0.95])
def test_the_similarity_of_larger_sets_is_right_within_its_error(similarity: float) -> None:
    draw, size, union = random.Random(1), 1024, 50_000
    estimates = []
    for _ in range(20):
        values = draw.sample(range(1 << 62), union)
        shared = round(similarity * union)
        half = (union - shared) // 2
        both, seen = compare(
            sketch({*values[: shared + half]}, size), sketch({*values[:shared], *values[shared + half :]}, size), size
        )
        assert seen == size
        estimates.append(both / seen)
    error = (similarity * (1 - similarity) / size) ** 0.5
    assert max(abs(estimate - similarity) for estimate in estimates) < 5 * error
    assert np.mean(estimates) == pytest.approx(similarity, abs=3 * error / 20**0.5)


def test_rows_of_two_columns_are_compared_as_sketches_are() -> None:
    columns = [[{1, 2, 3}, {4}], [{3, 4}, {1, 2, 3, 9}, {7}]]
    flat = [np.concatenate([sketch(row) for row in rows]) for rows in columns]
    ends = [np.cumsum([0, *map(len, rows)]) for rows in columns]
    pairs = np.array([(left, right) for left in range(2) for right in range(3)])
    both, union = compare_rows(flat[0], ends[0], pairs[:, 0], flat[1], ends[1], pairs[:, 1], SIZE)
    expected = [(len(one & other), len(one | other)) for one in columns[0] for other in columns[1]]
    assert list(zip(both.tolist(), union.tolist(), strict=True)) == expected


def test_pairs_at_the_threshold_meet_and_dissimilar_ones_hardly_do() -> None:
    bands, rows = best_banding(0.85, 256)
    assert bands * rows <= 256
    meets = {similarity: 1 - (1 - similarity**rows) ** bands for similarity in (0.5, 0.7, 0.85, 0.9)}
    assert meets[0.5] < 0.02 < meets[0.7] < 0.4 < 0.98 < meets[0.85] < 0.999 < meets[0.9]
