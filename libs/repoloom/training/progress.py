"""Where a training stands, as OUT/progress.json says it to whoever watches from elsewhere."""

from repoloom.corpus.manifest import Record

PROGRESS = "progress.json"


class TrainingProgress(Record):
    """What progress.json holds."""

    step: int
    steps: int
    tokens: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    mfu: float | None = None  # share of the peak of the accelerators; None where that is not known
