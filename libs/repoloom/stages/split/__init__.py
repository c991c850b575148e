"""split: holds repositories out for evaluation before anything is counted or trained."""

from repoloom.stages.split.step import HeldOut, Split

STEPS = (HeldOut, Split)
