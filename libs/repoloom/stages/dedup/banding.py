"""How many bands of how many rows: the cut of a MinHash that misses few duplicates for the candidates it costs."""

import functools
from typing import NamedTuple

import numpy as np

_MISS_WEIGHT = 0.99
"""What a missed duplicate weighs against a false candidate: the one is trained on, the other costs a comparison.
At the defaults 98.5% of the pairs with a similarity of 0.85 meet, 37% of those with 0.7, 1.1% of those with 0.5."""

_STEPS = 1000  # of the integrals over similarity


class Banding(NamedTuple):
    """`bands` * `rows` slots of a MinHash; two repositories meet where all rows of a band are equal."""

    bands: int
    rows: int


@functools.cache
def best_banding(threshold: float, slots: int) -> Banding:
    """The banding with the least weighted sum of false candidates below the threshold and misses above it.

    Both are integrals over similarity s of the chance to meet, 1 - (1 - s^rows)^bands, as in datasketch's MinHashLSH.
    """
    similarity = (np.arange(_STEPS) + 0.5) / _STEPS
    below = similarity < threshold

    def loss(banding: Banding) -> float:
        apart = (1 - similarity**banding.rows) ** banding.bands
        return float((1 - _MISS_WEIGHT) * (1 - apart[below]).sum() + _MISS_WEIGHT * apart[~below].sum())

    cuts = (Banding(bands, rows) for rows in range(1, slots + 1) for bands in range(1, slots // rows + 1))
    return min(cuts, key=loss)
