"""The learning rate of each stage of a training: how it rises, stands and falls; every step reads as many tokens."""

from enum import StrEnum
from math import cos, pi, sqrt

STAGES = ((0.8, 1.0), (0.9, sqrt(1 / 10)), (1.0, 1 / 10))
"""(share of the tokens at which a stage ends, its share of the peak): each is sqrt(1/10) of the one before."""

LAST = STAGES[-1][1]
"""What of the peak pretraining ends with, and context extension goes on with."""


class Schedule(StrEnum):
    """What becomes of the rate after the warm-up."""

    THREE_STAGES = "three-stages"
    """Pretraining: arXiv 2401.14196 section 3.3, after arXiv 2401.02954 section 2.3."""
    CONSTANT = "constant"
    """Context extension keeps the rate that pretraining ended with (arXiv 2401.14196, "Long Context")."""
    COSINE = "cosine"
    """Instruction tuning: half a cosine wave from the peak towards nothing (arXiv 2401.14196, "Instruction Tuning")."""


def learning_rate(
    step: int, steps: int, warmup_steps: int, peak: float, schedule: Schedule = Schedule.THREE_STAGES
) -> float:
    """The rate of the step after `step` others, of `steps` in all."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    match schedule:
        case Schedule.THREE_STAGES:
            return peak * next(share for end, share in STAGES if step < end * steps or end == 1.0)
        case Schedule.CONSTANT:
            return peak
        case Schedule.COSINE:
            return peak * (1 + cos(pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
