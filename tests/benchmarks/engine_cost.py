"""What the engine itself costs with many tasks: python tests/benchmarks/engine_cost.py [--tasks 1000000]

The tasks are simulated: a pool answers each at once with a commit of two parts and a ledger of three languages, and
nothing is read or written but what the reconciler reads and writes. It does so in a folder, and in a store that takes
some milliseconds for each request and lists a thousand keys in one, like S3's. Each measurement has a process of its
own, so that the memory is its own too.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa
from rich.console import Console
from rich.table import Table as Printed

import repoloom.store.folder
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.manifest import Cut, Manifest, Part
from repoloom.corpus.parts import PARTS, write_listing
from repoloom.corpus.tables import DROPPED, FILES
from repoloom.engine.plan import Plan, Table
from repoloom.engine.pool import Outcome
from repoloom.engine.reconcile import Policy, Status, reconcile
from repoloom.engine.step import Params, Reader, Sink, Step
from repoloom.engine.task import Commit, Cost, Task
from repoloom.engine.work import Work
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.store import open_store
from repoloom.store.folder import FolderStore

_POLICY = Policy(task_bytes=1 << 20)  # each part is larger, and so a task
_PAGE = 1000  # keys that S3 lists in one answer


class SlowFolder(FolderStore):
    """A folder in which each request takes as long as one to S3."""

    seconds: ClassVar[float] = 0.0
    requests: ClassVar[Counter[str]] = Counter()

    def _request(self, kind: str) -> None:
        self.requests[kind] += 1
        time.sleep(self.seconds)

    @contextmanager
    def create(self, key: str, heartbeat: Heartbeat = unheard) -> Iterator[BinaryIO]:
        with super().create(key, heartbeat) as file:
            yield file
            self._request("PUT")

    def open(self, key: str) -> Any:
        self._request("GET")
        return super().open(key)

    def exists(self, key: str) -> bool:
        self._request("HEAD")
        return super().exists(key)

    def list(self, prefix: str) -> Iterator[str]:
        self._request("LIST")
        for number, key in enumerate(super().list(prefix), 1):
            yield key
            if not number % _PAGE:
                self._request("LIST")

    def delete(self, key: str) -> None:
        self._request("DELETE")
        super().delete(key)


class Simulated(Step[Params]):
    """Never run: `Answering` says what came of its tasks."""

    name = "filter"
    reads = ("files",)
    writes: ClassVar = {"files": FILES, "dropped": DROPPED}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        raise NotImplementedError


class StoppedError(Exception):
    """The run was killed."""


class Answering:
    """Answers each task with a commit, and stops the run after so many."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self.answered = 0

    def run(self, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
        for task in tasks:
            if self.answered == self._most:
                raise StoppedError
            self.answered += 1
            yield Outcome(task, _commit(task.key))


_LEDGER = Ledger(
    entering=Count(items=30, size=3000),
    kept={"files": {language: Count(items=9, size=900) for language in ("C", "Go", "Python")}},
    dropped={"encoded": {"Python": Count(items=3, size=300)}},
)
_COST = Cost(seconds=1.5, cpu_seconds=1.25, peak_memory=1 << 28)


def _commit(task: str) -> Commit:
    parts = {
        table: (Part(key=f"tasks/{task}/{table}-000.parquet", sha256=task * 2, bytes=size, rows=27),)
        for table, size in (("files", 1 << 21), ("dropped", 1 << 15))
    }
    return Commit(task=task, tables=parts, ledger=_LEDGER, cost=_COST)


def make_input(root: str, tasks: int) -> None:
    """A dataset of so many parts, of which there is only the list."""
    keys = [f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}" for number in range(tasks)]
    columns = [
        [f"tasks/{key}/files-000.parquet" for key in keys],
        [key * 2 for key in keys],
        [2 << 20] * tasks,
        [30] * tasks,
    ]
    store = open_store(root)
    listing = write_listing(store, "files", pa.table(dict(zip(PARTS.names, columns, strict=True)), PARTS))
    cut = Cut(task_bytes=1, tasks=tasks)
    manifest = Manifest(
        step="crawl", version=1, params={}, inputs={}, tables={"files": listing}, ledger=Ledger(), cut=cut
    )
    with store.create(MANIFEST) as file:
        file.write(manifest.model_dump_json().encode())


@dataclass(frozen=True)
class Measured:
    """One run of the reconciler."""

    looked: float  # seconds until the first task was given, or the end known
    tasks: float  # seconds in which tasks were given and their commits taken
    finished: float  # seconds from the last commit to the end
    cpu: float  # seconds, of all that
    requests: str
    peak: int  # bytes of memory


def measure(folder: str, seconds: float, most: int | None) -> Measured:
    """Runs the reconciler in this process, which is a fresh one."""
    repoloom.store.folder.FolderStore = SlowFolder  # type: ignore[misc]  # open_store looks it up at each call
    SlowFolder.seconds = seconds
    moments = [time.monotonic()]
    pool = Answering(most)

    def watch(status: Status) -> None:  # noqa: ARG001
        moments[1:] = [*moments[1:2], time.monotonic()]

    tables = {"files": Table(Dataset.open(f"{folder}/input"), "files")}
    with suppress(StoppedError):
        reconcile(Simulated(Params()), tables, f"{folder}/output", pool, _POLICY, watch)
    ended = time.monotonic()
    requests = " ".join(f"{count} {kind}" for kind, count in sorted(SlowFolder.requests.items()))
    seconds_of = (moments[1] - moments[0], moments[-1] - moments[1], ended - moments[-1])
    return Measured(*seconds_of, time.process_time(), requests, _peak())


def plan_only(folder: str) -> Measured:
    """Only counts the tasks of the plan."""
    started = time.monotonic()
    tables = {"files": Table(Dataset.open(f"{folder}/input"), "files")}
    work = Work(Plan(Simulated(Params()), tables, f"{folder}/output", _POLICY.task_bytes))
    return Measured(time.monotonic() - started, 0, 0, time.process_time(), f"{len(work):,} tasks", _peak())


def idle() -> Measured:
    """Only imports."""
    return Measured(0, 0, 0, time.process_time(), "", _peak())


def _peak() -> int:
    """Bytes; what getrusage(2) says would begin with the peak of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--milliseconds", type=float, default=20, help="that a request of the slow store takes")
    parser.add_argument("--within", help="a folder; by default one in memory, where there is one")
    given = parser.parse_args()
    memory = Path("/dev/shm")
    within = given.within or (memory if memory.is_dir() else None)
    console = Console(width=140)
    columns = ("run", "looking s", "tasks s", "finishing s", "CPU s", "requests", "peak MiB")
    for name, seconds in (("folder", 0.0), (f"store of {given.milliseconds:g} ms", given.milliseconds / 1000)):
        printed = Printed(*columns, title=f"{given.tasks:,} tasks, {name}")
        with tempfile.TemporaryDirectory(dir=within) as folder:
            make_input(f"{folder}/input", given.tasks)
            manifest = Path(folder, "output", MANIFEST)
            run = partial(measure, folder, seconds)
            for what, work, before in (
                ("only imports", idle, None),
                ("only planning", partial(plan_only, folder), None),
                ("fresh, killed half way", partial(run, given.tasks // 2), None),
                ("the other half", partial(run, None), None),
                ("nothing changed", partial(run, None), None),
                ("all done, manifest lost", partial(run, None), manifest.unlink),
            ):
                if before is not None:
                    before()
                _print(printed, what, _alone(work))
            log = list(Path(folder, "output", "log").iterdir())
            size = sum(segment.stat().st_size for segment in log)
            printed.caption = f"the log: {len(log)} segments, {size / 1e6:.0f} MB"
        console.print(printed)


def _alone(work: Callable[[], Measured]) -> Measured:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(work).result()


def _print(printed: Printed, name: str, measured: Measured) -> None:
    seconds = (f"{value:.1f}" for value in (measured.looked, measured.tasks, measured.finished, measured.cpu))
    printed.add_row(name, *seconds, measured.requests, f"{measured.peak / 2**20:.0f}")


if __name__ == "__main__":
    main()
