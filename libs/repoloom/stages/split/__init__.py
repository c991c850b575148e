"""split: holds repositories out for evaluation before anything is counted or trained."""

from repoloom.stages.split.step import HeldOut, HeldOutFiles, Split

STEPS = (HeldOut, HeldOutFiles, Split)
