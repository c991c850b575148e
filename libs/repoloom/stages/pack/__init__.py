"""pack: pieces of documents laid into training sequences, with the boundaries that attention does not cross."""

from repoloom.stages.pack.step import Pack

STEPS = (Pack,)
