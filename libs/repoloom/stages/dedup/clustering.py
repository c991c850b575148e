"""Who is removed for whom: union-find over verified pairs, then a greedy pass that removes nothing by chaining alone.

Repositories are numbered by preference: most words first, so that the least text is lost, then by name. Within a
component of verified pairs, in that order, a repository is removed for the first survivor that it is itself similar
enough to; where there is none, it survives too. So a chain of small changes never carries off its far end.

The pass compares each member of a component with up to all survivors of it: for m members of which s survive, at most
m * s comparisons of two sketches (about a microsecond each). Only chains of small changes leave many survivors.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from repoloom.corpus.words import Hashes

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Verdicts(NamedTuple):
    """For each repository, by its number."""

    survivor: Indices  # itself where it survives
    similarity: Floats  # to the survivor, 1 to itself
    compared: Indices  # hashes that the similarity was measured on
    linked: Indices  # the candidate it is most similar to, itself where no candidate is similar enough
    linked_similarity: Floats


@njit(cache=True, nogil=True)
def compare(left: Hashes, right: Hashes, size: int) -> tuple[int, int]:
    """How many of the smallest hashes of the union are in both sketches, and how many were looked at: at most `size`.

    Their ratio is the Jaccard similarity s: exact where both sketches hold fewer than `size` hashes, else an unbiased
    estimate with the standard error sqrt(s * (1 - s) / looked at).
    """
    if left.size < size and right.size < size:
        size = left.size + right.size
    i = j = both = union = 0
    while union < size and (i < left.size or j < right.size):
        if j == right.size or (i < left.size and left[i] < right[j]):
            i += 1
        elif i == left.size or right[j] < left[i]:
            j += 1
        else:
            both += 1
            i += 1
            j += 1
        union += 1
    return both, union


@njit(cache=True, nogil=True)
def _similarity(sketches: npt.NDArray[np.uint64], lengths: Indices, left: int, right: int) -> tuple[float, int]:
    both, union = compare(sketches[left, : lengths[left]], sketches[right, : lengths[right]], sketches.shape[1])
    return both / union, union


@njit(cache=True, nogil=True)
def _find(parent: Indices, member: int) -> int:
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@njit(cache=True, nogil=True)
def resolve(
    sketches: npt.NDArray[np.uint64], lengths: Indices, order: Indices, pairs: Indices, threshold: float
) -> Verdicts:
    """Judges repositories numbered by preference.

    Row `order[i]` of `sketches` (rows, size) is repository i's, and holds `lengths[order[i]]` hashes, at least one;
    `pairs` (pairs, 2) are the candidates.
    """
    count = order.size
    parent = np.arange(count)
    linked, linked_similarity = np.arange(count), np.zeros(count)
    for p in range(len(pairs)):
        left, right = min(pairs[p, 0], pairs[p, 1]), max(pairs[p, 0], pairs[p, 1])
        similarity, _ = _similarity(sketches, lengths, order[left], order[right])
        if similarity < threshold:
            continue
        for one, other in ((left, right), (right, left)):
            best = linked_similarity[one]
            if similarity > best or (similarity == best and other < linked[one]):
                linked[one], linked_similarity[one] = other, similarity
        left, right = _find(parent, left), _find(parent, right)
        parent[max(left, right)] = min(left, right)

    survivor, to_survivor, compared = np.arange(count), np.ones(count), np.zeros(count, np.int64)
    following, last = np.full(count, -1), np.arange(count)  # the survivors of a component, chained from its root on
    for member in range(count):
        root = _find(parent, member)
        if root == member:
            continue
        other = root
        while other >= 0:
            similarity, union = _similarity(sketches, lengths, order[member], order[other])
            if similarity >= threshold:
                survivor[member], to_survivor[member], compared[member] = other, similarity, union
                break
            other = following[other]
        else:
            following[last[root]] = member
            last[root] = member
    return Verdicts(survivor, to_survivor, compared, linked, linked_similarity)
