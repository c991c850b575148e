"""pack: pieces of documents laid into training sequences, with the boundaries that positions and attention do not cross."""

from repoloom.stages.pack.step import Pack

STEPS = (Pack,)
