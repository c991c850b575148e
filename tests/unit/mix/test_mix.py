import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink
from numpy.typing import NDArray
from pydantic import ValidationError

from repoloom.errors import InputError
from repoloom.stages.mix.scarcity import scarcity
from repoloom.stages.mix.step import MIXTURE, Mix, MixParams, mixture

BIN = 1 << 16
"""Draws that share a bin of the histogram."""
PIECES = pa.schema([("domain", pa.string()), ("draw", pa.uint32()), ("size", pa.int64())])
DRAWN = st.lists(
    st.tuples(st.sampled_from(["chinese", "code", "english"]), st.integers(0, (1 << 32) - 1), st.integers(1, 4096)),
    min_size=1,
    max_size=60,
)
Drawn = list[tuple[str, int, int]]

PAPER = {"code": 0.87, "english": 0.10, "chinese": 0.03}
"""arXiv 2401.14196 section 2."""


def _mix(pieces: Drawn, params: MixParams) -> dict[str, dict[str, float]]:
    columns = zip(*pieces, strict=True)
    table = pa.table(dict(zip(PIECES.names, map(list, columns), strict=True)), schema=PIECES)
    sink = MemorySink()
    Mix(params).run({"pieces": MemoryReader(table, batch_rows=7)}, sink)
    assert sink.table("mixture").schema == MIXTURE
    return {row["domain"]: row for row in sink.table("mixture").to_pylist()}


@given(DRAWN, st.none() | st.integers(1, 100_000))
def test_what_is_taken_has_the_wanted_shares_within_a_bin(pieces: Drawn, tokens: int | None) -> None:
    rows = _mix(pieces, MixParams(weights=PAPER, tokens=tokens))
    assert list(rows) == sorted({domain for domain, _, _ in pieces})
    there = sum(PAPER[domain] for domain in rows)
    most = min(row["available"] / (PAPER[domain] / there) for domain, row in rows.items())
    total = most if tokens is None else min(most, tokens)
    for domain, row in rows.items():
        mine = [(draw, size) for name, draw, size in pieces if name == domain]
        taken = sum(size for draw, size in mine if draw < row["threshold"])
        without_last_bin = sum(size for draw, size in mine if draw < row["threshold"] - BIN)
        assert row["available"] == sum(size for _, size in mine)
        assert row["taken"] == taken
        assert row["weight"] == pytest.approx(PAPER[domain] / there)
        assert without_last_bin < total * row["weight"] <= taken + 1e-6


@given(DRAWN)
def test_the_scarcest_domain_is_taken_whole(pieces: Drawn) -> None:
    assert any(row["taken"] == row["available"] for row in _mix(pieces, MixParams(weights=PAPER)).values())


@given(DRAWN, st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_larger_mixture_holds_every_piece_of_a_smaller_one(pieces: Drawn, one: int, other: int) -> None:
    small, large = (_mix(pieces, MixParams(tokens=tokens)) for tokens in sorted((one, other)))
    assert all(small[domain]["threshold"] <= large[domain]["threshold"] for domain in small)


def _uniform(tokens: int) -> NDArray[np.float64]:
    """A domain of many small pieces."""
    return np.full(1 << 16, tokens / (1 << 16))


def test_of_a_large_corpus_the_papers_shares_come_out_to_a_hundredth_of_a_percent() -> None:
    histograms = {"code": _uniform(1 << 34), "english": _uniform(1 << 33), "chinese": _uniform(1 << 30)}
    rows = mixture(histograms, MixParams(weights=PAPER))
    taken = {str(row["domain"]): int(str(row["taken"])) for row in rows}
    for domain, share in PAPER.items():
        assert taken[domain] / sum(taken.values()) == pytest.approx(share, abs=1e-4)


def test_a_domain_without_a_weight_is_left_out_and_one_that_is_missing_scales_up_the_rest() -> None:
    rows = _mix([("code", 1, 100), ("poetry", 2, 100)], MixParams(weights={"code": 0.5, "english": 0.5}))
    assert (rows["code"]["weight"], rows["code"]["taken"]) == (1.0, 100)
    assert (rows["poetry"]["weight"], rows["poetry"]["taken"], rows["poetry"]["threshold"]) == (0.0, 0, 0)


def test_a_corpus_without_any_wanted_domain_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"none of the wanted domains \['code'\] is in the corpus, which has \['poetry'\]"
    ):
        _mix([("poetry", 2, 100)], MixParams(weights={"code": 1}))


@pytest.mark.parametrize(
    "weights", [{}, {"code": 0}, {"code": 1, "english": -0.1}, {"code": float("nan")}, {"code": float("inf")}]
)
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MixParams(weights=weights)


def test_without_weights_everything_is_taken() -> None:
    histograms = {"code": np.full(1 << 16, 3.0), "english": np.ones(1 << 16)}
    rows = mixture(histograms, MixParams())
    assert [(row["taken"], row["threshold"]) for row in rows] == [(3 << 16, 1 << 32), (1 << 16, 1 << 32)]


@given(DRAWN, st.permutations(list(PAPER)), st.integers(1, 100_000))
def test_a_mixture_does_not_depend_on_the_order_in_which_weights_are_written(
    pieces: Drawn, order: list[str], tokens: int
) -> None:
    third = dict.fromkeys(PAPER, 1 / 3) | {"code": 0.1}
    written = MixParams(weights={domain: third[domain] for domain in order}, tokens=tokens)
    assert _mix(pieces, written) == _mix(pieces, MixParams(weights=third, tokens=tokens))


@given(DRAWN, st.none() | st.integers(1, 100_000))
def test_the_domain_that_holds_a_mixture_back_does_so_no_longer_at_the_weight_that_is_enough(
    pieces: Drawn, tokens: int | None
) -> None:
    params = MixParams(weights=PAPER, tokens=tokens)
    rows = _mix(pieces, params)
    found = scarcity(rows.values(), params)
    whole = sum(row["available"] for row in rows.values())
    taken = sum(row["taken"] for row in rows.values())
    could_be = whole if tokens is None else min(whole, tokens)
    assert (found is None) == (taken >= could_be * 0.9)
    if found is not None:
        assert rows[found.domain]["taken"] == rows[found.domain]["available"] == found.available
        assert (found.taken, found.could_be, found.weight) == (taken, could_be, PAPER[found.domain])
        again = _mix(pieces, MixParams(weights={**PAPER, found.domain: found.enough * 0.99}))
        ends = {domain: row["available"] / row["weight"] for domain, row in again.items()}
        assert min(ends, key=ends.__getitem__) != found.domain


def test_without_weights_or_with_one_domain_nothing_holds_back() -> None:
    for params in (MixParams(), MixParams(weights={"code": 1})):
        rows = mixture({"code": np.full(1 << 16, 3.0), "english": np.ones(1 << 16)}, params)
        assert scarcity(rows, params) is None
