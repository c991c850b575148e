"""A task that was sent and has not come back: where it may be, judged by what is seen of it."""

from dataclasses import dataclass, field

from repoloom.engine.queue.board import Sight
from repoloom.engine.queue.pace import Pace
from repoloom.engine.step import Queue
from repoloom.engine.task import Task

_LONGEST_GRACE = 16  # times the grace


@dataclass
class Flight:
    """One task in flight. Times are of the monotonic clock."""

    task: Task
    queue: Queue
    time_limit: float  # seconds
    size: int = 0  # bytes of its message
    number: int = 0  # of its last message
    sent: int = 0  # how often
    holder: str | None = None  # of the claim that it was last seen under
    began: float | None = None  # when it was first seen under it
    gone: float | None = None  # since when it is seen nowhere
    losses: int = 0  # how often a worker was lost that did it
    witnesses: list[str] = field(default_factory=list)  # the workers that could do nothing for it, each time one

    def is_lost(self, holder: str | None, sight: Sight, now: float, pace: Pace) -> bool:
        """Whether neither a worker nor its queue has it any more.

        Messages are taken in the order of their numbers, so the queue still has what has a higher number than the last
        one taken, unless Redis has lost it: then the queue is empty, or the count of messages has begun anew. What is
        wrongly thought lost is sent twice, which is harmless; each time it is waited for twice as long.
        """
        if holder is not None:
            self.gone = None
            if self.began is None or holder != self.holder:
                self.holder, self.began = holder, now
            return now - self.began > self.time_limit + pace.overdue
        if sight.waiting and sight.taken < self.number <= sight.published:
            self.gone = None
            return False
        self.gone = self.gone or now
        return now - self.gone > pace.grace * min(1 << (self.sent - 1), _LONGEST_GRACE)
