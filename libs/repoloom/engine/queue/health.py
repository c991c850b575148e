"""Whether a worker is fit for work: after a task that it could do nothing for, it takes no message for a while."""

from dataclasses import dataclass

from repoloom.engine.queue.pace import Pace


@dataclass
class Health:
    """The health of one worker process. Times are of the monotonic clock."""

    pace: Pace
    rest: float = 0.0  # the last one's seconds; 0 where a task was committed since
    rested: float = 0.0  # when it is over

    def is_well(self, now: float) -> bool:
        """Whether it takes messages."""
        return now >= self.rested

    def ail(self, now: float) -> None:
        """Begins a rest, twice as long as the one before. Tasks that fail side by side fail for one reason."""
        if self.is_well(now):
            self.rest = min(2 * self.rest or self.pace.rest, self.pace.longest_rest)
            self.rested = now + self.rest

    def recover(self) -> None:
        """A task was committed."""
        self.rest = self.rested = 0.0
