"""One storm: runs of the data path on a fleet under faults that a seed draws, until there were enough of them."""

import heapq
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mishaps import Mishap, Mishaps, deck
from stormy_fleet import Job, StormyFleet, a_stormy_fleet, digests

_TICK = 0.05  # seconds
_GAP = 30  # requests about tasks between two mishaps, on average: as much is done between them on any machine
_LULL = 20.0  # seconds after which one comes even so


@dataclass
class Run:
    """A run of the data path in a storm, or a job beside it."""

    uri: str
    digests: Mapping[str, str]


@dataclass
class Storm:
    """What a storm came to."""

    seed: int
    seconds: float = 0.0
    log: list[tuple[float, str]] = field(default_factory=list)
    """Each fault: when, on the monotonic clock, and of which kind."""
    runs: list[Run] = field(default_factory=list)
    jobs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    began: list[tuple[str, float]] = field(default_factory=list)
    """Each run of a step: the address of its task, and when it was begun."""
    readable: dict[str, float] = field(default_factory=dict)
    """Since when the commit of a task could be read."""

    @property
    def kinds(self) -> Counter[str]:
        return Counter(kind for _, kind in self.log)


class _Timer:
    """What is to be done later, in this thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._serial), act))

    def act(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()


class _Weather:
    """Mishaps at the times that a seed draws."""

    def __init__(self, fleet: StormyFleet, seed: int, log: list[tuple[float, str]]) -> None:
        self._timer = _Timer()
        self._draw = random.Random(seed)
        self._mishaps = Mishaps(fleet, self._draw, self._timer.later)
        self._deck = deck(self._draw)
        self._wire = fleet.wire
        self._log = log
        self._put_off: dict[Mishap, None] = {}  # what could not happen when its turn came: nothing ran that it befalls
        self._hastened: list[Mishap] = []
        self._file = fleet.folder / "mishaps"
        self._wait()

    def pass_by(self) -> None:
        """Has happen what is due."""
        self._timer.act()
        if self._hastened and self._mishaps.befall(self._hastened[-1]):
            self._note(self._hastened.pop(), time.monotonic())
        if self._wire.work >= self._next or time.monotonic() >= self._latest:
            began = time.monotonic()
            for mishap in itertools.chain(tuple(self._put_off), self._deck):
                if self._mishaps.befall(mishap):
                    self._note(mishap, began)
                    self._put_off.pop(mishap, None)
                    self._wait()
                    return
                self._put_off[mishap] = None

    def hasten(self, mishap: Mishap) -> None:
        """Has a mishap come as soon as it is possible: what it befalls does not live long."""
        self._hastened.append(mishap)

    @property
    def had_all(self) -> bool:
        """Whether each kind has happened."""
        return {kind for _, kind in self._log} >= set(Mishap)

    def _note(self, mishap: Mishap, began: float) -> None:
        self._log.append((began, mishap))
        with self._file.open("a") as file:
            file.write(f"{began:.3f} {time.monotonic() - began:.3f} {self._wire.work} {mishap}\n")

    def _wait(self) -> None:
        self._next = self._wire.work + self._draw.expovariate(1 / _GAP)
        self._latest = time.monotonic() + _LULL


def storm(
    folder: Path,
    recipe: Path,
    seed: int,
    kind: str,
    faults: int,
    most_seconds: float,
    check: Callable[[StormyFleet, Storm], None],
) -> Storm:
    """Runs the recipe under at least so many faults; `check` looks at what is left while the servers still run."""
    result = Storm(seed)
    began = time.monotonic()
    with a_stormy_fleet(folder, recipe, seed, kind) as fleet:
        weather = _Weather(fleet, seed, result.log)
        fleet.wire.stormy = True
        for number in itertools.count():
            _one_run(fleet, weather, number, result, began + most_seconds)
            if result.problems or (len(result.log) + len(fleet.wire.log) >= faults and weather.had_all):
                break
        fleet.wire.stormy = False
        result.log = sorted([*result.log, *fleet.wire.log])
        fleet.stop()
        result.problems += [f"left over: {process.cmdline()}" for process in fleet.left()]
        result.seconds = time.monotonic() - began
        result.readable = fleet.wire.readable
        if fleet.runs_log.exists():
            lines = (line.split(" ") for line in fleet.runs_log.read_text().splitlines())
            result.began = [(task, float(begun)) for task, begun in lines]
        check(fleet, result)
    return result


def _one_run(fleet: StormyFleet, weather: _Weather, number: int, result: Storm, until: float) -> None:
    """One run, and beside it a job on what its crawl made; storms until both have ended."""
    store = fleet.begin_run(number)
    job: Job | None = None
    reconciler = fleet.reconciler
    assert reconciler is not None
    while not (reconciler.done and job is not None and job.ended):
        fleet.tend()
        weather.pass_by()
        if job is None and "✓ crawl " in reconciler.said("err"):
            job = Job(fleet.service_port, f"{store}/crawl", f"{fleet.root}/job-{number}")
            weather.hasten(Mishap.RUNNER_KILLED)
        result.problems += _complaints(fleet, job)
        if time.monotonic() > until:
            result.problems.append("it did not come to its end in time")
        if result.problems:
            break
        time.sleep(_TICK)
    if job is not None:
        job.stop()
    if not result.problems and job is not None:
        result.runs.append(Run(store, digests(reconciler.said("out"))))
        result.jobs.append(Run(f"{fleet.root}/job-{number}", {"filter": str(job.digest)}))


def _complaints(fleet: StormyFleet, job: Job | None) -> list[str]:
    """What went wrong that no fault excuses: a process that ended of itself, but for want of Redis; a failed job."""
    want = re.compile(r"redis://\S+ does not answer")
    ended = [said for kept in fleet.kept for said in kept.gave_up if not want.search(said)]
    return [*ended, *([f"the job failed: {job.failure}"] if job is not None and job.failure else [])]
