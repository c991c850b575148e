"""Which tasks a plan has, and which of them are done: some 150 bytes for each."""

from array import array
from collections.abc import Iterator

from repoloom.engine.plan import Plan
from repoloom.engine.task import Task


class Work:
    """The tasks of a plan, numbered in the order they come. Two that read equal bytes are one piece of work."""

    def __init__(self, plan: Plan) -> None:
        self._numbers: dict[bytes, int] = {}
        self._sizes = array("Q")
        self.order = array("I")
        """The numbers of the tasks in the plan's order."""
        for shares in plan:
            number = self._numbers.setdefault(bytes.fromhex(plan.key(shares)), len(self._sizes))
            self.order.append(number)
            if number == len(self._sizes):
                self._sizes.append(plan.read_bytes(shares))
        self._done = bytearray(len(self._sizes))
        self.done = 0
        self.bytes = sum(self._sizes)
        """What the tasks read of the step's first table, as stored."""
        self.bytes_done = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def number(self, key: str) -> int | None:
        """The number of the task with a key, None where the plan has no such task."""
        return self._numbers.get(bytes.fromhex(key))

    def is_done(self, key: str) -> bool:
        """Whether a task of the plan is committed."""
        return bool(self._done[self._numbers[bytes.fromhex(key)]])

    def finish(self, key: str) -> None:
        """Counts a task of the plan as committed; again makes no difference."""
        number = self._numbers[bytes.fromhex(key)]
        if not self._done[number]:
            self._done[number] = True
            self.done += 1
            self.bytes_done += self._sizes[number]

    def missing(self, plan: Plan) -> Iterator[Task]:
        """The tasks that are not committed when their turn comes, each piece of work once."""
        following = 0
        for number, shares in zip(self.order, plan, strict=True):
            if number == following:  # else it was there before
                following += 1
                if not self._done[number]:
                    yield plan.task(shares)

    def unfinished(self, plan: Plan) -> Iterator[Task]:
        """The tasks that are not committed, as often as they are planned."""
        if self.done < len(self):
            for number, shares in zip(self.order, plan, strict=True):
                if not self._done[number]:
                    yield plan.task(shares)
