"""What a model must reach before anybody is served by it."""

from collections.abc import Iterator, Sequence

from repoloom.evaluation.result import Scores
from repoloom_operator.resources import Gates


def missed(gates: Gates, scores: Scores, benchmarks: Sequence[str]) -> Iterator[str]:
    """A sentence for each gate that a model does not pass. What was not measured passes none.

    `benchmarks`: those whose copies were taken out of the corpus.
    """
    most = ("bits per byte", scores.bits_per_byte, gates.max_bits_per_byte)
    least = (
        ("exact match", scores.exact_match, gates.min_exact_match),
        ("edit similarity", scores.edit_similarity, gates.min_edit_similarity),
    )
    name, value, limit = most
    if limit is not None and (value is None or value > limit):
        yield f"{name} is {_shown(value)}, at most {limit:g} is wanted"
    for name, value, limit in least:
        if limit is not None and (value is None or value < limit):
            yield f"{name} is {_shown(value)}, at least {limit:g} is wanted"
    for benchmark in gates.decontaminated_from:
        if benchmark not in benchmarks:
            known = ", ".join(benchmarks) or "none"
            yield f"the corpus was not decontaminated from {benchmark}, it was from: {known}"


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
