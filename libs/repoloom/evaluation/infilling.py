"""Single-line infilling: does the model write the line that had stood there, and if not, how near does it come?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from repoloom.evaluation.held_out import Hole
from repoloom.inference.complete import Completer
from repoloom.inference.generate import Sampling
from repoloom.inference.until import Until

MAX_NEW_TOKENS = 64
"""A line of code rarely has more."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a model wrote into a hole."""

    hole: Hole
    written: str

    @property
    def exact(self) -> bool:
        return self.written.strip() == self.hole.line.strip()

    @property
    def edit_similarity(self) -> float:
        """1 - edit distance / length of the longer, both stripped."""
        written, line = self.written.strip(), self.hole.line.strip()
        return 1 - edit_distance(written, line) / max(len(written), len(line), 1)


def fill(completer: Completer, holes: Sequence[Hole], filled: Callable[[int], None]) -> list[Filled]:
    """Greedily fills every hole up to its line's end; `filled` is told how many more are."""
    contexts = [(hole.prefix, hole.suffix) for hole in holes]
    written = completer.complete_all(contexts, Until.LINE, Sampling(max_new_tokens=MAX_NEW_TOKENS), filled)
    return [Filled(hole, line) for hole, line in zip(holes, written, strict=True)]


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: the insertions, deletions and substitutions that turn one into the other."""
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, start=1):
        diagonal, row[0] = row[0], place
        for column, counterpart in enumerate(other, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (character != counterpart)),
            )
    return row[-1]
