import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.stages.pack.best_fit import best_fit

CAPACITIES = st.integers(1, 40)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[int], int]:
    capacity = draw(CAPACITIES)
    return draw(st.lists(st.integers(1, capacity), max_size=60)), capacity


def _fills(sizes: list[int], capacity: int) -> list[int]:
    return [sum(sizes[piece] for piece in sequence) for sequence in best_fit(np.array(sizes, np.int64), capacity)]


def _twin(sizes: list[int], capacity: int) -> list[int]:
    """Best-fit decreasing as one would write it down: the fill of each sequence."""
    fills: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [number for number, fill in enumerate(fills) if fill + size <= capacity]
        if fitting:
            fills[max(fitting, key=lambda number: fills[number])] += size
        else:
            fills.append(size)
    return fills


def _first_fit(sizes: list[int], capacity: int) -> int:
    fills: list[int] = []
    for size in sizes:
        number = next((number for number, fill in enumerate(fills) if fill + size <= capacity), None)
        if number is None:
            fills.append(size)
        else:
            fills[number] += size
    return len(fills)


@given(_cases())
def test_each_piece_is_placed_once_and_no_sequence_overflows(case: tuple[list[int], int]) -> None:
    sizes, capacity = case
    sequences = best_fit(np.array(sizes, np.int64), capacity)
    assert sorted(piece for sequence in sequences for piece in sequence) == list(range(len(sizes)))
    assert all(sequences)
    assert all(fill <= capacity for fill in _fills(sizes, capacity))


@given(_cases())
def test_sequences_are_filled_as_by_its_plain_twin(case: tuple[list[int], int]) -> None:
    sizes, capacity = case
    assert sorted(_fills(sizes, capacity)) == sorted(_twin(sizes, capacity))


@given(_cases())
def test_at_most_one_sequence_is_no_more_than_half_full(case: tuple[list[int], int]) -> None:
    sizes, capacity = case
    assert sum(2 * fill <= capacity for fill in _fills(sizes, capacity)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_of_documents_lengths_it_needs_no_more_sequences_than_first_fit(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = np.minimum(4096, np.ceil(random.lognormal(6, 1.5, 3000))).astype(np.int64).tolist()
    assert len(_fills(sizes, 4096)) <= _first_fit(sizes, 4096)


def test_equal_pieces_keep_their_order() -> None:
    assert best_fit(np.array([5, 5, 5, 5], np.int64), 10) == [[0, 1], [2, 3]]


def test_a_piece_larger_than_a_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="a piece of 11 tokens does not fit into a sequence of 10"):
        best_fit(np.array([3, 11], np.int64), 10)
