"""`make bench-scale`: how well the heavy stages spread from one worker to two, with the real parts, on one machine.

A real corpus is cut into dozens of tasks for each worker and taken through the stages by 1 and by 2 workers in turn:
by the local pool in a folder, and by Celery workers over Redis on an S3 server. Each run has fresh workers, for they
keep copies of what they read, and they have done the stages on a small corpus before anything is timed. All runs must
end with the same digests.

Efficiency is t1 / (2 t2), of medians. Times lie where the machine has other work, so how much there was is printed, and
what depends less on it: "by CPU: work" is the workers' processor time with 1 as a share of that with 2 for the same
work, the efficiency of workers with cores of their own; "all" is the same with the store, Redis and the runner on the
workers' two cores, from which they take what the last table says. Prints tables; --json prints the figures.
"""

import argparse
import contextlib
import functools
import itertools
import json
import operator
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import corpus
import psutil
from rich.console import Console
from rich.table import Table as Printed

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "extra_stages"), str(TESTS / "faults")]

import s3_servers  # noqa: E402 - it lies in a folder just added
from fleet import BUILD, Fleet, Redis  # noqa: E402

from repoloom.corpus.dataset import Dataset  # noqa: E402
from repoloom.engine.plan import Table  # noqa: E402
from repoloom.engine.pool import Limits, LocalPool, Pool  # noqa: E402
from repoloom.engine.queue.build import NAME  # noqa: E402
from repoloom.engine.queue.pace import Pace  # noqa: E402
from repoloom.engine.reconcile import Policy, reconcile  # noqa: E402
from repoloom.recipe.run import run_stage  # noqa: E402
from repoloom.recipe.sections import configure, section, steps  # noqa: E402

MB = 1_000_000
LEADING = ("filter", "order")
"""What comes before, made once: so quick that their tasks, cut as finely, would say what a task costs and no more."""
STAGES = ("quality", "tokenize")
"""The two that take most of the data path's time."""
VOCABULARY = "tokenize.vocabulary"
"""One task however large the corpus: it is made once, of the small corpus, and not timed."""
SMALL, SMALL_TASKS = 4 * MB, 12
WORKERS = (1, 2)
PARTS = ("workers", "Celery", "runner", "Redis", "store")
"""A worker is two processes: Celery's, which drives, and the child that does tasks, which alone the local pool has."""


@dataclass
class Place:
    """Where datasets lie and who does tasks there."""

    name: str
    root: str
    pool: Callable[[int], AbstractContextManager[Pool]]  # of so many workers
    store: int | None = None  # the process id of the server


@dataclass
class Cost:
    """What some work took."""

    tasks: int
    seconds: float
    processor: dict[str, float]  # seconds of each of PARTS

    def __add__(self, other: "Cost") -> "Cost":
        processor = {part: self.processor[part] + other.processor[part] for part in PARTS}
        return Cost(self.tasks + other.tasks, self.seconds + other.seconds, processor)


@dataclass
class Run:
    """The stages, done by so many workers."""

    place: str
    workers: int
    stages: dict[str, Cost]
    others: float  # seconds of all processors that were busy with nothing of this benchmark
    digests: Sequence[str]

    def cost(self, stage: str | None) -> Cost:
        """Of a stage, or of all."""
        chosen = [cost for name, cost in self.stages.items() if stage in (None, name)]
        return functools.reduce(operator.add, chosen)


def processor_seconds(place: Place) -> dict[str, float]:
    """What each of PARTS has taken so far."""
    taken = dict.fromkeys(PARTS, 0.0) | {"runner": sum(psutil.Process().cpu_times()[:2])}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            own, with_dead_children = (sum(process.cpu_times()[:number]) for number in (2, 4))
            command = process.cmdline()
            if process.pid == place.store:
                taken["store"] += own
            elif "celery" in command:
                taken["Celery"] += own
            elif "redis-server" in command[0]:
                taken["Redis"] += own
            else:
                taken["workers"] += with_dead_children
    return taken


def spent(place: Place, before: Mapping[str, float]) -> dict[str, float]:
    """What each of PARTS has taken since then."""
    return {part: seconds - before[part] for part, seconds in processor_seconds(place).items()}


def busy_seconds() -> float:
    """What all processors of this machine have worked so far, whoever for."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def values(stage: str, **given: Any) -> Mapping[str, Any]:
    """The parameters of a stage, the paper's where nothing is given."""
    model = section(stage).model_validate(given)
    return {name: getattr(model, name) for name in type(model).model_fields}


def crawl(folder: Path, root: str) -> dict[str, Table]:
    """The tables of a folder of repositories."""
    tables: dict[str, Table] = {}
    sources = values("crawl", sources=[{"kind": "folder", "path": str(folder), "each": True}])
    with LocalPool(max(WORKERS), Limits()) as pool:
        for _ in run_stage("crawl", sources, tables, root, pool, Policy()):
            pass
    return tables


def run_stages(
    place: Place, pool: Pool, tables: dict[str, Table], root: str, stages: Sequence[str], tasks: int
) -> Iterator[tuple[str, Dataset, Cost]]:
    """Takes tables through stages and adds what comes of it; yields each step's stage, dataset and cost."""
    [first, *_] = steps(stages[0])[0].reads
    policy = Policy(task_bytes=-(-tables[first].listing.bytes // tasks))
    for stage in stages:
        for step in steps(stage):
            if step.name == VOCABULARY and "tokenizer" in tables:
                continue
            before, began = processor_seconds(place), time.monotonic()
            dataset = reconcile(configure(step, values(stage)), tables, f"{root}/{step.name}", pool, policy)
            seconds = time.monotonic() - began
            if dataset.manifest.quarantined:
                sys.exit(f"{step.name}: {dataset.manifest.quarantined[0].error}")
            tables.update({name: Table(dataset, name) for name in step.writes})
            yield stage, dataset, Cost(dataset.manifest.cut.tasks, seconds, spent(place, before))


class Bench:
    """The corpora in one place, and runs over them."""

    def __init__(self, place: Place, small: Path, large: Path, tasks: int) -> None:
        self.place = place
        self._tasks = tasks
        self._runs = 0
        self._small, self._large = crawl(small, f"{place.root}/small"), crawl(large, f"{place.root}/large")
        with LocalPool(max(WORKERS), Limits()) as pool:
            for name, tables in (("small", self._small), ("large", self._large)):
                for _ in run_stages(place, pool, tables, f"{place.root}/{name}", LEADING, 4 * tasks):
                    pass
            made = dict(self._small)
            for _ in run_stages(place, pool, made, f"{place.root}/vocabulary", STAGES, SMALL_TASKS):
                pass
        for tables in (self._small, self._large):
            tables["tokenizer"] = made["tokenizer"]

    def run(self, workers: int) -> Run:
        """Has fresh workers do the small corpus, then the large one, which counts."""
        self._runs += 1
        root = f"{self.place.root}/run-{self._runs}"
        with self.place.pool(workers) as pool:
            for _ in run_stages(self.place, pool, dict(self._small), f"{root}/small", STAGES, SMALL_TASKS):
                pass
            busy, own = busy_seconds(), processor_seconds(self.place)
            done = list(run_stages(self.place, pool, dict(self._large), root, STAGES, self._tasks))
            others = busy_seconds() - busy - sum(spent(self.place, own).values())
        shutil.rmtree(root, ignore_errors=True)
        stages = {stage: cost for stage, _, cost in done}
        return Run(self.place.name, workers, stages, others, [dataset.digest for _, dataset, _ in done])


@contextlib.contextmanager
def places(work: Path, kind: str) -> Iterator[list[Place]]:
    """A folder with the local pool, and an S3 server with Celery workers."""
    redis = Redis(work / "redis")
    redis.start()
    try:
        with s3_servers.serve(kind, work / "server") as server:
            os.environ.update({NAME: BUILD, **server.environment()})
            root = "s3://tests"
            logs = (work / f"workers-{number}" for number in itertools.count())

            @contextlib.contextmanager
            def fleet(workers: int) -> Iterator[Pool]:
                started = Fleet(redis, root, next(logs), Pace())  # type: ignore[arg-type]  # an address serves as well
                try:
                    started.start(workers)
                    with redis.pool(Limits(), Pace()) as pool:
                        yield pool
                finally:
                    started.end()

            yield [
                Place("local pool, folder", str(work / "folder"), lambda workers: LocalPool(workers, Limits())),
                Place(f"Celery, {kind}", root, fleet, server.process.pid),
            ]
    finally:
        redis.kill(data=False)


def show(runs: Sequence[Run], console: Console) -> None:
    """Prints the tables of one place."""
    by_workers = [[run for run in runs if run.workers == workers] for workers in WORKERS]
    table = Printed("stage", title=f"{runs[0].place}: seconds are median (least to most)", title_justify="left")
    for column in ("tasks", "CPU s a task", "1 worker", "2 workers", "efficiency", "by CPU: work", "all"):
        table.add_column(column, justify="right")
    for stage in (*STAGES, None):
        costs = [[run.cost(stage) for run in some] for some in by_workers]
        spans = [sorted(cost.seconds for cost in some) for some in costs]
        one, two = map(statistics.median, spans)
        once, twice = map(_medians, costs)
        table.add_row(
            stage or "end to end",
            str(costs[0][0].tasks),
            f"{once['workers'] / costs[0][0].tasks:.2f}",
            *(f"{statistics.median(span):.2f} ({span[0]:.2f} to {span[-1]:.2f})" for span in spans),
            f"{one / 2 / two:.2f}",
            f"{once['workers'] / twice['workers']:.2f}",
            f"{once['workers'] / sum(twice.values()):.2f}",
        )
    console.print(table)
    table = Printed("", title="Processor seconds, end to end, median", title_justify="left")
    for column in ("1 worker", "2 workers", "of the workers'", "a task, ms"):
        table.add_column(column, justify="right")
    costs = [[run.cost(None) for run in some] for some in by_workers]
    once, twice = map(_medians, costs)
    for part in PARTS:
        share, a_task = twice[part] / twice["workers"], twice[part] / costs[1][0].tasks
        table.add_row(part, f"{once[part]:.2f}", f"{twice[part]:.2f}", f"{share:.3f}", f"{a_task * 1000:.1f}")
    others = [statistics.median(run.others for run in some) for some in by_workers]
    table.add_row("other work on this machine", *(f"{seconds:.2f}" for seconds in others))
    console.print(table)


def _medians(costs: Sequence[Cost]) -> dict[str, float]:
    """Processor seconds of each of PARTS."""
    return {part: statistics.median(cost.processor[part] for cost in costs) for part in PARTS}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=112, help="MB of the corpus")
    parser.add_argument("--tasks", type=int, default=48, help="about so many, of each stage")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--server", choices=s3_servers.kinds(), default=s3_servers.kinds()[-1])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    progress = Console(stderr=True, highlight=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="repoloom-bench-") as temporary:
        work = Path(temporary)
        corpus.build(work / "small", SMALL)
        size = corpus.build(work / "large", arguments.size * MB)
        runs = []
        with places(work, arguments.server) as found:
            benches = [Bench(place, work / "small", work / "large", arguments.tasks) for place in found]
            for number in range(arguments.rounds):
                for workers in WORKERS[:: 1 if number % 2 else -1]:
                    for bench in benches:
                        runs.append(bench.run(workers))
                        seconds = runs[-1].cost(None).seconds
                        progress.print(f"{bench.place.name}, {workers}: {seconds:.1f} s")
    if any(run.digests != runs[0].digests for run in runs):
        sys.exit("the runs made different datasets")
    if arguments.json:
        print(json.dumps({"bytes": size, "cores": os.cpu_count(), "runs": [asdict(run) for run in runs]}, indent=1))
        return
    console = Console(width=150)
    console.print(
        f"{size / MB:.0f} MB, {os.cpu_count()} cores, {time.monotonic() - began:.0f} s in all", highlight=False
    )
    for place in dict.fromkeys(run.place for run in runs):
        show([run for run in runs if run.place == place], console)


if __name__ == "__main__":
    main()
