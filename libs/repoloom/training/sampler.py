"""The order of samples: a seeded permutation for each epoch, computed place by place and never stored.

Which samples a step reads follows from the samples consumed before it and nothing else, so a run that goes on, on
whatever number of ranks, reads what an uninterrupted one would have read.
"""

import hashlib
import struct
from dataclasses import dataclass

ROUNDS = 4
"""Four Feistel rounds of a pseudo-random function are a strong pseudo-random permutation (Luby, Rackoff 1988)."""


@dataclass(frozen=True)
class Sampler:
    """Shuffles `size` samples anew in every epoch."""

    size: int
    seed: int

    def at(self, consumed: int) -> int:
        """The sample that follows `consumed` others."""
        epoch, place = divmod(consumed, self.size)
        half = max(1, ((self.size - 1).bit_length() + 1) // 2)
        place = self._permute(place, epoch, half)
        while place >= self.size:  # walk the cycle back into range: under four steps on average, as 4**half < 4 * size
            place = self._permute(place, epoch, half)
        return place

    def batch(self, consumed: int, batch_size: int, rank: int = 0, ranks: int = 1) -> list[int]:
        """A rank's share of the `batch_size` samples that follow: every `ranks`-th of them."""
        return [self.at(place) for place in range(consumed + rank, consumed + batch_size, ranks)]

    def _permute(self, place: int, epoch: int, half: int) -> int:
        """A Feistel network over numbers of twice `half` bits."""
        mask = (1 << half) - 1
        left, right = place >> half, place & mask
        for number in range(ROUNDS):
            key = struct.pack("<qQQQ", self.seed, epoch, number, right)
            word = int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"repoloom.sample").digest(), "little")
            left, right = right, left ^ (word & mask)
        return left << half | right
