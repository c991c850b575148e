"""Threads that go on one at a time, in an order that can be had again."""

import contextlib
import random
import threading
from collections.abc import Iterator


class Turns:
    """Lets threads go on one at a time, in an order that a seed says."""

    def __init__(self, threads: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._left = list(range(threads))
        self._turn = self._random.choice(self._left)
        self._changed = threading.Condition()

    def wait(self, thread: int) -> None:
        """Gives the turn away, and waits for the next."""
        with self._changed:
            self._give()
            self._changed.wait_for(lambda: self._turn == thread)

    @contextlib.contextmanager
    def taken_by(self, thread: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == thread)
        yield
        with self._changed:
            self._left.remove(thread)
            self._give()

    def _give(self) -> None:
        if self._left:
            self._turn = self._random.choice(self._left)
        self._changed.notify_all()
