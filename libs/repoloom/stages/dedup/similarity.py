"""The similarity of two repositories, from their sketches alone."""

import numpy as np
import numpy.typing as npt
from numba import njit

from repoloom.corpus.words import Hashes

Indices = npt.NDArray[np.int64]


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
def compare_rows(
    left: Hashes,
    left_ends: Indices,
    left_rows: Indices,
    right: Hashes,
    right_ends: Indices,
    right_rows: Indices,
    size: int,
) -> tuple[Indices, Indices]:
    """What `compare` says of row `left_rows[i]` of one column of sketches and `right_rows[i]` of another.

    Sketches lie end to end: row r is `left[left_ends[r]:left_ends[r + 1]]`.
    """
    both, union = np.empty(left_rows.size, np.int64), np.empty(left_rows.size, np.int64)
    for i in range(left_rows.size):
        mine = left[left_ends[left_rows[i]] : left_ends[left_rows[i] + 1]]
        its = right[right_ends[right_rows[i]] : right_ends[right_rows[i] + 1]]
        both[i], union[i] = compare(mine, its, size)
    return both, union
