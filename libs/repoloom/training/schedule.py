"""The learning rate: warm-up, then three stages (arXiv 2401.14196 section 3.3, after arXiv 2401.02954 section 2.3)."""

from math import sqrt

STAGES = ((0.8, 1.0), (0.9, sqrt(1 / 10)), (1.0, 1 / 10))
"""(share of the tokens at which a stage ends, its share of the peak): each is sqrt(1/10) of the one before."""


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """The rate of the step after `step` others, of `steps` in all; every step reads the same number of tokens."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * next(share for end, share in STAGES if step < end * steps or end == 1.0)
