"""Where a training stands, as OUT/training-progress.json says it to whoever looks from outside, who may lack torch."""

from enum import StrEnum

from repoloom.corpus.manifest import Record

PROGRESS = "training-progress.json"


class RunState(StrEnum):
    """What became of a training."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class TrainingProgress(Record):
    """Where a training stands; None is what is not known yet, or not known of this machine."""

    state: RunState
    stage: str = ""  # at work, or the last one: pretrain, extend or instruct
    run: str = ""  # the stage's identity; empty: not known yet
    work: str = ""  # what whoever began it calls it
    step: int = 0  # done, of the stage
    steps: int  # of the whole stage; 0: not known yet
    prepared: int = 0  # pieces of what comes before and after a stage's steps: files read, tasks done, MiB copied
    tokens: int = 0  # read, over all ranks
    loss: float | None = None  # nats per target token, of the last step
    learning_rate: float | None = None
    tokens_per_second: float | None = None  # since the writing before, over all ranks
    seconds_left: float | None = None
    mfu: float | None = None  # share of the GPUs' peak that the model's own operations take
