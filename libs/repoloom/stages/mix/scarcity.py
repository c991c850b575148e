"""Which domain holds a mixture back: the one with the least text for its weight, where that costs the others theirs."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from repoloom.stages.mix.step import MixParams

_BORNE = 0.1
"""Share of the tokens that weights may cost without a word: some domain is always the first to end."""


class Scarcity(NamedTuple):
    """What a domain's weight costs, in tokens."""

    domain: str
    available: int  # of the domain
    weight: float  # as it was given
    enough: float  # the weight at which the domain ends no sooner than the next scarcest
    taken: int  # of all domains
    could_be: int  # what their text, and the wanted number of tokens, allow


def scarcity(mixture: Iterable[Mapping[str, Any]], params: MixParams) -> Scarcity | None:
    """The domain that holds a mixture (rows of MIXTURE) back; None where none costs it much."""
    weights = params.weights or {}
    rows = [row for row in mixture if row["weight"] and row["domain"] in weights]
    if len(rows) < 2:
        return None
    scarcest, following = sorted(rows, key=lambda row: row["available"] / row["weight"])[:2]
    whole = sum(row["available"] for row in rows)
    could_be = whole if params.tokens is None else min(whole, params.tokens)
    taken = sum(row["taken"] for row in rows)
    if taken >= could_be * (1 - _BORNE):
        return None
    domain, other = scarcest["domain"], following["domain"]
    enough = scarcest["available"] * weights[other] / following["available"]
    return Scarcity(domain, scarcest["available"], weights[domain], enough, taken, could_be)
