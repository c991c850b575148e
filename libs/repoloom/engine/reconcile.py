"""The reconciler: what a step should have made, minus what is committed, is the work that is missing.

It holds no state of its own. Killed at any moment and started again, it plans the same tasks from the same inputs, sees
which are committed, and does the rest. A task that fails `attempts` times is quarantined: the others finish without it.

To cancel it, raise an exception through it: in `watch`, or from a signal's handler for those who cannot wait for a task
to end. Any moment will do, since each moment is one at which it may also be killed; the pool is closed as it passes.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import Field

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Ledger, add_up
from repoloom.corpus.manifest import Cut, Manifest, Record
from repoloom.corpus.parts import write_listing
from repoloom.engine.execute import committed, entering
from repoloom.engine.gather import Gathered
from repoloom.engine.log import CommitLog
from repoloom.engine.plan import Plan, Table
from repoloom.engine.pool import Outcome, Pool
from repoloom.engine.quarantine import Quarantine
from repoloom.engine.step import Params, Step
from repoloom.engine.task import Commit, Task
from repoloom.engine.work import Work
from repoloom.errors import CorruptDataError, RepoloomError
from repoloom.store import Store, open_store


class Policy(Record):
    """How tasks are cut and how often a failing one is tried."""

    task_bytes: int = Field(default=64 << 20, gt=0)  # stored bytes that a task reads of its first table
    attempts: int = Field(default=3, ge=1)


@dataclass(frozen=True)
class Status:
    """Where a step stands, for whoever watches."""

    step: str
    tasks: int
    done: int
    quarantined: int
    redone: int  # attempts beyond the first
    reused: int  # tasks that were known to be committed before this run
    bytes: int  # that the tasks read of the step's first table, as stored
    bytes_done: int


class IncompleteInputError(RepoloomError):
    """A step cannot be right without the tasks that were given up before it."""


Watch = Callable[[Status], None]
Fence = Callable[[], None]
"""Raises where the output is no longer the caller's."""


def reconcile(
    step: Step[Params],
    tables: Mapping[str, Table],
    root: str,
    pool: Pool,
    policy: Policy,
    watch: Watch = lambda _: None,
    fence: Fence = lambda: None,
) -> Dataset:
    """Brings the dataset of a step at `root` to be, doing only what is missing.

    `fence` is asked right before the manifest is written, which takes the place of any other: who was frozen for long
    may come back to an output that is somebody else's.

    Raises FatalError, StoreError, and IncompleteInputError where a side table lacks quarantined tasks.
    """
    _check_sides(step, tables)
    store = open_store(root)
    store.sweep()
    plan = Plan(step, tables, store.uri, policy.task_bytes)
    if (dataset := _finished(store, plan)) is not None:
        watch(_all_reused(dataset.manifest, plan))
        return dataset
    work, log = Work(plan), CommitLog(store)
    gathered = Gathered(work, tuple(step.writes))
    for commits in log.segments():
        gathered.take(commits)
    quarantine = Quarantine(store, work, policy.attempts)
    reused, redone = work.done, 0

    def report() -> None:
        lost = len(quarantine.given_up)
        watch(Status(step.name, len(work), work.done, lost, redone, reused, work.bytes, work.bytes_done))

    def missing() -> Iterator[Task]:
        nonlocal redone
        for task in work.missing(plan):
            if task.key not in quarantine.given_up:
                redone += quarantine.has_failed(task)
                yield task

    report()
    while work.done + len(quarantine.given_up) < len(work):
        with _closing(pool.run(missing())) as outcomes:
            for outcome in outcomes:
                result = outcome.result
                if not isinstance(result, Commit):  # another worker that was given the task may have done it
                    result = committed(store, outcome.task) or result
                if isinstance(result, Commit):
                    work.finish(outcome.task.key)
                    quarantine.forgive(outcome.task)
                    log.add(result)
                    if log.is_due:
                        gathered.take(log.flush())
                else:
                    quarantine.count(outcome.task, result)
                report()
    gathered.take(log.flush())
    manifest = _manifest(store, plan, work, gathered, quarantine)
    fence()
    stores.write(store, MANIFEST, manifest.model_dump_json(indent=1).encode())
    return Dataset(store.uri, manifest)


@contextmanager
def _closing(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    try:
        yield outcomes
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()


def _finished(store: Store, plan: Plan) -> Dataset | None:
    """The dataset of this very plan, where it is complete: then nothing need be planned or looked at."""
    if not store.exists(MANIFEST):
        return None
    try:
        dataset = Dataset.open(store.uri)
    except CorruptDataError:  # a manifest says nothing that the commits do not; it is made anew
        return None
    return dataset if plan.is_done(dataset.manifest) else None


def _all_reused(manifest: Manifest, plan: Plan) -> Status:
    tasks = manifest.cut.tasks
    size = sum(plan.tables[name].listing.bytes for name in plan.step.reads[:1])
    return Status(plan.step.name, tasks, tasks, 0, 0, tasks, size, size)


def _manifest(store: Store, plan: Plan, work: Work, gathered: Gathered, quarantine: Quarantine) -> Manifest:
    step = plan.step
    lost = list(work.unfinished(plan))
    return Manifest(
        step=step.name,
        version=step.version,
        params=plan.params,
        inputs=plan.inputs,
        tables={name: write_listing(store, name, gathered.parts(name)) for name in step.writes},
        ledger=add_up([gathered.ledger(), *(_unaccounted(step, task) for task in lost)]),
        cut=Cut(task_bytes=plan.task_bytes, tasks=len(work)),
        quarantined=tuple(quarantine.verdict(task) for task in lost),
    )


def _unaccounted(step: Step[Params], task: Task) -> Ledger:
    """The ledger of a task that was given up: what entered it is neither kept nor dropped."""
    if step.accounts is None or step.accounts.entering is None:
        return Ledger()
    lost = entering(task, step.accounts.entering)
    return Ledger(entering=lost, quarantined=lost)


def _check_sides(step: Step[Params], tables: Mapping[str, Table]) -> None:
    """A table that every task reads in full must be whole: what is missing there would pass for "nothing to do"."""
    for name in step.reads[1:]:
        source = tables[name].dataset.manifest
        if source.quarantined:
            first = source.quarantined[0]
            cause = first.error.partition("\n")[0][:200] or first.kind
            raise IncompleteInputError(
                f"{step.name} needs all of {source.step}, of which {len(source.quarantined)} tasks are quarantined "
                f"({cause}); mend the cause, then "
                f"`repoloom retry {tables[name].dataset.uri}` and run again"
            )
