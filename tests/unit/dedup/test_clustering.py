import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.stages.dedup.banding import best_banding
from repoloom.stages.dedup.clustering import Verdicts, compare, resolve

SIZE = 64

small_sets = st.sets(st.integers(0, 40), min_size=1, max_size=SIZE - 1)


def sketch(members: set[int], size: int = SIZE) -> np.ndarray:
    return np.array(sorted(members)[:size], np.uint64)


def judge(sets: list[set[int]], pairs: list[tuple[int, int]], threshold: float) -> Verdicts:
    sketches = np.zeros((len(sets), SIZE), np.uint64)
    for row, members in enumerate(sets):
        sketches[row, : len(members)] = sorted(members)
    lengths = np.array([len(members) for members in sets])
    order = np.arange(len(sets))
    return resolve(sketches, lengths, order, np.array(pairs, np.int64).reshape(-1, 2), threshold)


def jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


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


@settings(deadline=None)
@given(st.lists(small_sets, min_size=1, max_size=12), st.data())
def test_verdicts_are_those_of_the_plain_rule(sets: list[set[int]], data: st.DataObject) -> None:
    threshold = 0.6
    everyone = range(len(sets))
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(everyone), st.sampled_from(everyone)), max_size=30))
    pairs = [(one, other) for one, other in pairs if one != other]

    component = {number: {number} for number in everyone}
    for one, other in pairs:
        if jaccard(sets[one], sets[other]) >= threshold:
            joined = component[one] | component[other]
            for member in joined:
                component[member] = joined
    survivor: dict[int, int] = {}
    for number in everyone:
        elders = [elder for elder in sorted(component[number]) if elder < number and survivor[elder] == elder]
        survivor[number] = next((e for e in elders if jaccard(sets[e], sets[number]) >= threshold), number)

    verdicts = judge(sets, pairs, threshold)
    assert verdicts.survivor.tolist() == list(survivor.values())
    for number in everyone:
        assert verdicts.similarity[number] == jaccard(sets[number], sets[survivor[number]])
        partners = {o for pair in pairs if number in pair for o in pair if o != number}
        similar = [
            (-jaccard(sets[number], sets[o]), o) for o in partners if jaccard(sets[number], sets[o]) >= threshold
        ]
        assert verdicts.linked[number] == (min(similar)[1] if similar else number)


def test_a_chain_of_small_changes_never_removes_its_far_end() -> None:
    sets = [set(range(start, start + 30)) for start in range(0, 30, 3)]
    neighbours = [(number, number + 1) for number in range(len(sets) - 1)]
    verdicts = judge(sets, neighbours, 0.8)
    assert jaccard(sets[0], sets[1]) > 0.8 > jaccard(sets[0], sets[2])
    assert verdicts.survivor.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]


def test_pairs_at_the_threshold_meet_and_dissimilar_ones_hardly_do() -> None:
    bands, rows = best_banding(0.85, 256)
    assert bands * rows <= 256
    meets = {similarity: 1 - (1 - similarity**rows) ** bands for similarity in (0.5, 0.7, 0.85, 0.9)}
    assert meets[0.5] < 0.02 < meets[0.7] < 0.4 < 0.98 < meets[0.85] < 0.999 < meets[0.9]
