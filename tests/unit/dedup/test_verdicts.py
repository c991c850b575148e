import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.stages.dedup.verdicts import HEADS, REMOVED, SURVIVES, UNDECIDED, decide, removals, settle

Edges = Sequence[tuple[int, int]]  # right, left


def states_of(count: int, edges: Edges, pieces: int = 1) -> np.ndarray:
    """As dedup.resolve finds them, from edges that come in pieces."""
    states = np.zeros(count, np.uint8)
    states[[right for right, _ in edges]] = UNDECIDED
    by_right = [list(some) for _, some in itertools.groupby(edges, key=lambda edge: edge[0])]
    waiting = [np.empty((0, 2), np.int64)]
    for piece in range(pieces):
        some = np.array([edge for run in by_right[piece::pieces] for edge in run], np.int64).reshape(-1, 2)
        waiting.append(some[settle(states, some[:, 0], some[:, 1])])
    rest = np.concatenate(waiting)
    rest = rest[np.argsort(rest[:, 0], kind="stable")]
    decide(states, rest[:, 0].copy(), rest[:, 1].copy())
    return states


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, dict[int, int], Edges]:
    """Repositories with ranks of preference, which are not their numbers, and edges to some that are preferred."""
    count = draw(st.integers(1, 12))
    ranks = dict(enumerate(draw(st.permutations(range(count)))))
    pairs = [(right, left) for right in range(count) for left in range(count) if ranks[left] < ranks[right]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return count, ranks, sorted(edges, key=lambda edge: (edge[0], ranks[edge[1]]))


@settings(deadline=None)  # the first call compiles
@given(graphs(), st.integers(1, 3))
def test_verdicts_are_those_of_the_plain_rule(graph: tuple[int, dict[int, int], Edges], pieces: int) -> None:
    count, ranks, edges = graph
    survivor: dict[int, int] = {}
    for one in sorted(range(count), key=ranks.__getitem__):
        lefts = [left for right, left in edges if right == one and survivor[left] == left]
        survivor[one] = min(lefts, key=ranks.__getitem__, default=one)

    states = states_of(count, edges, pieces)
    assert {one for one in range(count) if states[one] == SURVIVES} == {o for o, s in survivor.items() if o == s}
    assert {one for one in range(count) if states[one] == REMOVED} == {o for o, s in survivor.items() if o != s}
    rights, lefts = np.array(edges, np.int64).reshape(-1, 2).T.copy()
    chosen, opens = removals(states, rights, lefts)
    assert {rights[edge]: lefts[edge] for edge in chosen} == {o: s for o, s in survivor.items() if o != s}
    opened = lefts[chosen[opens]].tolist()
    assert sorted(opened) == sorted({s for o, s in survivor.items() if o != s})
    assert all(states[one] == HEADS for one in opened)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_a_long_chain_of_small_changes_loses_every_other_one_whatever_its_order(order: str) -> None:
    count = 200_000  # a pass over all for each link would take hours
    numbers = list(range(count))
    if order == "descending":
        numbers.reverse()
    elif order == "shuffled":
        random.Random(0).shuffle(numbers)
    edges = sorted((numbers[link + 1], numbers[link]) for link in range(count - 1))
    states = states_of(count, edges)
    assert (states[numbers] == np.tile([SURVIVES, REMOVED], count // 2)).all()
