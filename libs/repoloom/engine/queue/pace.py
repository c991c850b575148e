"""How patient the pool and its workers are: every duration and bound of the queue in one place."""

from pydantic import Field

from repoloom.corpus.manifest import Record


class Pace(Record):
    """Durations in seconds. None of them decides what is made, only how soon a loss is noticed."""

    heartbeat: float = Field(default=1, gt=0)  # a worker renews its claims, and looks whether it is to stop
    claim: float = Field(default=15, gt=0)  # a claim that nobody renews ends
    look: float = Field(default=2, gt=0)  # the pool looks for lost tasks
    grace: float = Field(default=5, gt=0)  # so long in no queue and under no claim, a task is lost
    overdue: float = Field(default=60, gt=0)  # so long after its time limit, a running task is lost
    rest: float = Field(default=1, gt=0)  # a worker that could do nothing for a task takes none; then for twice as long
    longest_rest: float = Field(default=60, gt=0)
    patience: float = Field(default=900, ge=0)  # Redis may be away
    drain: float = Field(default=60, ge=0)  # a running task may still take after SIGTERM
    visibility: float = Field(default=6 * 3600, gt=0)  # Celery delivers an unacknowledged message again
    leftover: float = Field(default=24 * 3600, gt=0)  # then Redis forgets what runs and workers have left there

    losses: int = Field(default=3, ge=1)  # so many workers lost with a task count as one failed attempt
    witnesses: int = Field(default=3, ge=1)  # so many workers, or all, who can do nothing for a task end its run
    window: int = Field(default=1000, ge=1)  # tasks of a run in flight at once
    window_bytes: int = Field(default=64 << 20, gt=0)
    message_bytes: int = Field(default=16 << 20, gt=0)  # as they lie in Redis
    store_looks: int = Field(default=32, ge=1)  # questions to the store in one look
