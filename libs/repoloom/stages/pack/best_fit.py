"""Best-fit decreasing: each piece goes whole into the fullest sequence that has room for it (arXiv 2404.10830)."""

import numpy as np
from numpy.typing import NDArray


def best_fit(sizes: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """The pieces of each sequence, by index, largest piece first; ties keep their order.

    Open sequences are kept by their room; a bit mask of the rooms that have one makes each look-up one operation on a
    `capacity`-bit integer. Raises ValueError where a piece is larger than a sequence.
    """
    if len(sizes) and sizes.max() > capacity:
        raise ValueError(f"a piece of {sizes.max()} tokens does not fit into a sequence of {capacity}")
    sequences: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0
    for piece in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[piece])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            sequence = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
        else:
            room = capacity
            sequence = len(sequences)
            sequences.append([])
        sequences[sequence].append(piece)
        by_room[room - size].append(sequence)
        rooms |= 1 << (room - size)
    return sequences
