"""The supervisor: starts parts in order of need, starts again what dies or falls silent, ends all in reverse order."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from repoloom.errors import UnavailableError
from repoloom.up.child import Child, bound
from repoloom.up.part import Part

_TICK = 0.1  # seconds
_LOOK, _EARLY_LOOK = 2.0, 0.3  # between two checks of a part that answers, and of one that does not
_START_SECONDS = 90.0  # in which a part must come to answer
_SILENT_SECONDS = 30.0  # after which one that answered is taken for hung
_STEADY_SECONDS = 60.0  # of living, after which earlier deaths no longer count
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_EARLY_DEATHS = 3  # of a part that never answered: it will not do so the next time either
_LAST_WORDS = 400  # characters of a log


class State(StrEnum):
    """How a part stands."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    SILENT = "silent"  # it runs, and does not answer
    DOWN = "down"  # it died, and will be started again
    ENDING = "ending"
    ENDED = "ended"


@dataclass
class Watched:
    """A part, and what has become of it."""

    part: Part
    state: State = State.WAITING
    child: Child | None = None
    restarts: int = 0
    was_up: bool = False
    _deaths: int = 0  # one after another
    _since: float = 0.0  # that it was started, or last answered
    _begun: float = 0.0
    _again: float = 0.0
    _look: float = 0.0
    _check: "Future[bool] | None" = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        return self.child.pid if self.child else None

    def start(self) -> None:
        """Starts the process."""
        now = time.monotonic()
        self.child, self.state, self._check = Child(self.part), State.STARTING, None
        self._begun = self._since = self._look = now

    def tend(self, executor: ThreadPoolExecutor) -> str:
        """One look: what happened, in words, or nothing. Raises UnavailableError for a part that cannot be started."""
        now = time.monotonic()
        if self.child is None:
            if now >= self._again:
                self.start()
            return ""
        bound(self.part.log)
        if self.child.ended:
            return self._died(self.child.bury())
        said = self._answer(now) if self._check is not None and self._check.done() else ""
        if self._check is None and now >= self._look:
            self._check = executor.submit(self.part.answers, self.child.pid)
        patience = _SILENT_SECONDS if self.was_up and self.state is State.SILENT else _START_SECONDS
        if self.state is not State.UP and now - self._since > patience:
            self.child.abort()
            self.child = None
            if not self.was_up:
                raise UnavailableError(f"{self.part.name} did not answer for {patience:g} s; see {self.part.log}")
            return self._died(f"did not answer for {patience:g} s and was ended")
        return said

    def _answer(self, now: float) -> str:
        """What a check found."""
        assert self._check is not None
        answered, self._check = self._check.result(), None
        self._look = now + (_LOOK if answered else _EARLY_LOOK)
        if not answered:
            if self.state is State.UP:
                self.state = State.SILENT
            return ""
        before, self.state, self._since = self.state, State.UP, now
        self.was_up = True
        if now - self._begun > _STEADY_SECONDS:
            self._deaths = 0
        return f"{self.part.name} is up: {self.part.address}" if before is State.STARTING else ""

    def _died(self, how: str) -> str:
        self.child, self.state, self._check = None, State.DOWN, None
        self._deaths += 1
        self.restarts += 1
        if not self.was_up and self._deaths >= _EARLY_DEATHS:
            raise UnavailableError(f"{self.part.name} {how} before it answered{last_words(self.part)}")
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (self._deaths - 1))
        self._again = time.monotonic() + pause
        return f"{self.part.name} {how}; it is started again in {pause:g} s (log: {self.part.log})"


class Supervisor:
    """Runs in the main thread. `said` is told what happens, `tick` is called ten times a second."""

    def __init__(self, said: Callable[[str], None], tick: Callable[[], None], stopping: Callable[[], int]) -> None:
        """`stopping` counts how often it was asked to end: once to end in order, twice to end now."""
        self.watched: list[Watched] = []
        self._said = said
        self._tick = tick
        self._stopping = stopping
        self._executor = ThreadPoolExecutor(16, thread_name_prefix="check")

    def bring_up(self, parts: Sequence[Part]) -> bool:
        """Starts parts at once and waits until each has answered. False where it was asked to end meanwhile.

        Raises UnavailableError.
        """
        new = [Watched(part) for part in parts]
        self.watched += new
        while not self._stopping():
            self._look()
            if all(watched.was_up for watched in new):
                return True
        return False

    def keep(self) -> None:
        """Keeps all alive until asked to end."""
        while not self._stopping():
            self._look()

    def end(self, tiers: Sequence[Sequence[Part]]) -> None:
        """Ends the parts, the last tier first. No part lives longer than its grace."""
        for tier in reversed(tiers):
            names = {part.name for part in tier}
            self._end_all([watched for watched in self.watched if watched.part.name in names])
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        for watched in self.watched:
            if said := watched.tend(self._executor):
                self._said(said)
        self._tick()
        time.sleep(_TICK)

    def _end_all(self, watched: Sequence[Watched]) -> None:
        for one in watched:
            if one.child is not None:
                one.state = State.ENDING
                one.child.terminate()
        begun = time.monotonic()
        while left := [one for one in watched if one.child is not None]:
            for one in left:
                assert one.child is not None
                late = time.monotonic() - begun > one.part.grace or self._stopping() > 1
                if one.child.ended or late:
                    one.child.bury()
                    one.child = None
            self._tick()
            time.sleep(_TICK / 2)
        for one in watched:
            one.state = State.ENDED


def last_words(part: Part) -> str:
    """The end of a part's log, for an error."""
    from repoloom.telemetry.redaction import redact
    from repoloom.text import visible

    said = part.log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"; {part.log} ends with: {visible(redact(said), kept='')}"
