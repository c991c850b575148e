"""A token is chosen whatever may be asked for, of the distribution that is meant."""

import sys

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from repoloom.inference.generate import Sampling, choose

logits = st.lists(st.integers(-(1 << 20), 1 << 20).map(lambda number: number / 1024), min_size=1)


def chances(row: list[float], temperature: float) -> torch.Tensor:
    """The probability of each token, in float64."""
    exact = torch.tensor(row).double()
    return ((exact - exact.max()) / temperature).softmax(dim=0)


@given(
    logits,
    st.floats(0, sys.float_info.max, exclude_min=True),  # the command line admits any, the server up to 2
    st.floats(0, 1, exclude_min=True),
    st.integers(0, (1 << 64) - 1),
)
@example([0.5, -10.0, 10.0], 1e-40, 1.0, 0)
@example([0.5, -10.0, 10.0], 5e-324, 1.0, 0)
@example([0.5, -10.0, 10.0], 1.0, 5e-324, 0)
@example([0.0, 0.0], 5e-324, 5e-324, 0)
def test_every_temperature_and_nucleus_chooses_a_likely_token(
    row: list[float], temperature: float, top_p: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    [token] = choose(torch.tensor([row]), Sampling(1, temperature, top_p), generator).tolist()
    probabilities = chances(row, temperature)
    assert probabilities[token] > 0
    likelier = probabilities > probabilities[token] + 1e-6  # by more than float32 rounds
    assert probabilities[likelier].sum() < top_p + 1e-5


def test_tokens_come_as_often_as_they_are_likely() -> None:
    row, draws = [1.0, 3.0, 2.5, -4.0, 2.0], 1 << 15
    for temperature in (0.3, 1.0, 2.0):
        generator = torch.Generator().manual_seed(0)
        chosen = choose(torch.tensor([row] * draws), Sampling(1, temperature), generator)
        often = torch.bincount(chosen, minlength=len(row)) / draws
        torch.testing.assert_close(often.double(), chances(row, temperature), atol=0.01, rtol=0)
