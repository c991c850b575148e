"""mix: how much of each domain is taken, by tokens, so that the shares of the whole come out as wanted."""

from repoloom.stages.mix.step import Mix

STEPS = (Mix,)
