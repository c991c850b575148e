"""The reconciler: what a step should have made, minus what is committed, is the work that is missing.

It holds no state of its own. Killed at any moment and started again, it plans the same tasks from the same inputs, sees
which are committed, and does the rest. A task that fails `attempts` times is quarantined: the others finish without it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Ledger, add_up
from repoloom.corpus.manifest import Manifest, Part, Quarantined, Record
from repoloom.corpus.reading import WAY_OUT
from repoloom.engine.execute import committed, entering
from repoloom.engine.pool import LocalPool
from repoloom.engine.step import Params, Step
from repoloom.engine.task import Attempt, Commit, Failures, Kind, Share, Task
from repoloom.errors import CorruptDataError, RepoloomError
from repoloom.store import Store, open_store


class Policy(Record):
    """How tasks are cut and how often a failing one is tried."""

    task_bytes: int = Field(default=64 << 20, gt=0)  # stored bytes that a task reads of its first table
    attempts: int = Field(default=3, ge=1)


@dataclass(frozen=True)
class Table:
    """A table that steps can read: some dataset's."""

    dataset: Dataset
    name: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts."""
        return self.dataset.parts(self.name)


@dataclass(frozen=True)
class Status:
    """Where a step stands, for whoever watches."""

    step: str
    tasks: int
    done: int
    quarantined: int
    redone: int  # attempts beyond the first
    reused: int  # tasks that were committed before this run


_KILLS = 20
"""A worker killed from outside says nothing of its task, so it is no failed attempt; but what is killed this often in
one run may bring it about (the kernel kills so when memory runs short)."""


class IncompleteInputError(RepoloomError):
    """A step cannot be right without the tasks that were given up before it."""


Watch = Callable[[Status], None]


def plan(step: Step[Params], tables: Mapping[str, Table], root: str, task_bytes: int) -> Iterator[Task]:
    """The tasks of a step over tables: a pure function of the step, its parameters and the tables' parts."""
    params = step.params.model_dump(mode="json")
    for shares in step.plan({name: tables[name].parts for name in step.reads}, task_bytes):
        inputs = {name: Share(root=tables[name].dataset.uri, parts=tuple(parts)) for name, parts in shares.items()}
        yield Task(step=step.name, version=step.version, params=params, inputs=inputs, root=root)


def reconcile(
    step: Step[Params],
    tables: Mapping[str, Table],
    root: str,
    pool: LocalPool,
    policy: Policy,
    watch: Watch = lambda _: None,
) -> Dataset:
    """Brings the dataset of a step at `root` to be, doing only what is missing.

    Raises FatalError, StoreError, and IncompleteInputError where a side table lacks quarantined tasks.
    """
    _check_sides(step, tables)
    store = open_store(root)
    store.sweep()
    tasks = list(plan(step, tables, store.uri, policy.task_bytes))
    work = {task.key: task for task in tasks}  # two tasks that read equal bytes are one piece of work
    commits = {key: commit for key, task in work.items() if (commit := committed(store, task)) is not None}
    reused = len(commits)
    failures = {key: _failures(store, task) for key, task in work.items() if key not in commits}
    killed: Counter[str] = Counter()
    redone = 0

    def given_up(failed: Failures) -> bool:
        return len(failed.attempts) >= policy.attempts or killed[failed.task] >= _KILLS

    def report() -> None:
        watch(Status(step.name, len(work), len(commits), sum(map(given_up, failures.values())), redone, reused))

    report()
    while missing := [work[key] for key, failed in failures.items() if not given_up(failed)]:
        redone += sum(bool(failures[task.key].attempts) for task in missing)
        for outcome in pool.run(missing):
            key = outcome.task.key
            if isinstance(outcome.result, Commit):
                commits[key] = outcome.result
                del failures[key]
                store.delete(outcome.task.failures_key)
            elif outcome.result.kind is Kind.KILLED:
                killed[key] += 1
            else:
                failed = failures[key]
                failures[key] = failed.model_copy(update={"attempts": (*failed.attempts, outcome.result)})
                stores.write(store, outcome.task.failures_key, failures[key].model_dump_json().encode())
            report()
    manifest = _manifest(step, tables, tasks, commits, failures)
    stores.write(store, MANIFEST, manifest.model_dump_json(indent=1).encode())
    return Dataset(store.uri, manifest)


def _manifest(
    step: Step[Params],
    tables: Mapping[str, Table],
    tasks: list[Task],
    commits: Mapping[str, Commit],
    failures: Mapping[str, Failures],
) -> Manifest:
    done = [commits[task.key] for task in tasks if task.key in commits]
    lost = [task for task in tasks if task.key in failures]
    params: dict[str, Any] = step.params.model_dump(mode="json")
    return Manifest(
        step=step.name,
        version=step.version,
        params=params,
        inputs={name: tables[name].dataset.digest for name in step.reads},
        tables={name: tuple(part for commit in done for part in commit.tables[name]) for name in step.writes},
        ledger=add_up([*(commit.ledger for commit in done), *(_unaccounted(step, task) for task in lost)]),
        quarantined=tuple(_quarantined(failures[task.key]) for task in lost),
    )


def _quarantined(failed: Failures) -> Quarantined:
    last = failed.attempts[-1] if failed.attempts else Attempt(kind=Kind.KILLED, error=f"killed {_KILLS} times", at="")
    return Quarantined(
        task=failed.task,
        inputs=failed.inputs,
        at=last.at,
        kind=last.kind,
        error=last.error,
        attempts=len(failed.attempts) or _KILLS,
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
            raise IncompleteInputError(
                f"{step.name} needs all of {source.step}, of which {len(source.quarantined)} tasks are quarantined "
                f"({source.quarantined[0].error.splitlines()[0][:200]}); mend the cause, then "
                f"`repoloom retry {tables[name].dataset.uri}` and run again"
            )


def _failures(store: Store, task: Task) -> Failures:
    try:
        return Failures.model_validate_json(store.read(task.failures_key))
    except FileNotFoundError:
        inputs = {name: tuple(part.key for part in share.parts) for name, share in task.inputs.items()}
        return Failures(task=task.key, inputs=inputs)
    except ValidationError as error:
        raise CorruptDataError(
            f"{store.uri}/{task.failures_key} cannot be read; {WAY_OUT.format(store.uri)}"
        ) from error
