"""Who is removed for whom: a greedy pass over the similar pairs, in the order of preference.

A repository is removed for the most preferred survivor that it is itself similar enough to; where there is none, it
survives too. So a chain of small changes never carries off its far end: chaining alone removes nothing. The survivors
are the lexicographically first maximal independent set of the graph. Only pairs that shared a bucket are its edges: to
compare each member of a component with every survivor in it would be quadratic in long chains, and need all sketches.

The kernels never sort by preference: a repository waits for those preferred to it, and each edge knows which one is.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Indices = npt.NDArray[np.int64]
States = npt.NDArray[np.uint8]

SURVIVES: Final = np.uint8(0)  # as does whoever no other is preferred to
UNDECIDED: Final = np.uint8(1)
REMOVED: Final = np.uint8(2)
HEADS: Final = np.uint8(3)  # survives, and a cluster has been opened for it


@njit(cache=True, nogil=True)
def settle(states: States, rights: Indices, lefts: Indices) -> Indices:
    """Decides what the states say already; returns the places of the edges that others must be decided for.

    Edges (rights[i], lefts[i]) of one right are contiguous; `states` has the state of each repository.
    """
    waiting = np.empty(rights.size, np.int64)
    count = start = 0
    while start < rights.size:
        right, before = rights[start], count
        state = SURVIVES
        stop = start
        while stop < rights.size and rights[stop] == right:
            of_left = states[lefts[stop]]
            if of_left == SURVIVES:
                state = REMOVED
            elif of_left == UNDECIDED:
                waiting[count] = stop
                count += 1
                state = max(state, UNDECIDED)
            stop += 1
        if state != UNDECIDED:
            count = before
        states[right] = state
        start = stop
    return waiting[:count]


@njit(cache=True, nogil=True)
def decide(states: States, rights: Indices, lefts: Indices) -> None:
    """Decides the rest, in linear time: each right after its lefts, depth first. `rights` ascend."""
    starts = np.empty(rights.size, np.int64)
    count = 0
    for edge in range(rights.size):
        if edge == 0 or rights[edge] != rights[edge - 1]:
            starts[count] = edge
            count += 1
    members = rights[starts[:count]]
    looked = starts[:count].copy()  # edges before are of lefts that are removed
    stack = np.empty(count, np.int64)
    for first in range(count):
        stack[0], depth = first, 1
        while depth:
            member = stack[depth - 1]
            stop = starts[member + 1] if member + 1 < count else rights.size
            state = states[members[member]]
            while state == UNDECIDED:
                if looked[member] == stop:
                    state = SURVIVES
                    break
                of_left = states[lefts[looked[member]]]
                if of_left == UNDECIDED:
                    stack[depth] = np.searchsorted(members, lefts[looked[member]])
                    break
                if of_left == SURVIVES:
                    state = REMOVED
                looked[member] += 1
            if state == UNDECIDED:
                depth += 1
            else:
                states[members[member]] = state
                depth -= 1


@njit(cache=True, nogil=True)
def removals(states: States, rights: Indices, lefts: Indices) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """The place of the edge of each that is removed to its survivor, and whether it opens that one's cluster.

    Edges of one right are contiguous, the most preferred left first.
    """
    chosen, opens = np.empty(rights.size, np.int64), np.empty(rights.size, np.bool_)
    count = 0
    for edge in range(rights.size):
        right, left = rights[edge], lefts[edge]
        if states[right] != REMOVED or (count and rights[chosen[count - 1]] == right):
            continue
        if states[left] == SURVIVES or states[left] == HEADS:
            chosen[count], opens[count] = edge, states[left] == SURVIVES
            states[left] = HEADS
            count += 1
    return chosen[:count], opens[:count]
