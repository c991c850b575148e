"""Doing one task: check and read its parts, run the step, write, read back, commit."""

import importlib
import resource
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.ledger import Count
from repoloom.corpus.parts import sizes_of
from repoloom.corpus.reading import WAY_OUT, TableReader
from repoloom.corpus.writing import COUNTED, TaskWriter, count_rows
from repoloom.engine.step import Params, Step
from repoloom.engine.task import Commit, Cost, Task
from repoloom.errors import CorruptDataError, InputError
from repoloom.store import Store, open_store

Reached = Callable[[str], None]
"""Is told of each repository before a step is given its rows."""


def load_step(name: str) -> type[Step[Params]]:
    """The step class of a name such as "filter" or "dedup.bands": the stage's package lists it in STEPS."""
    stage = name.partition(".")[0]
    if stage.isidentifier():
        try:
            steps: tuple[type[Step[Params]], ...] = importlib.import_module(f"repoloom.stages.{stage}").STEPS
        except ModuleNotFoundError as error:
            if error.name != f"repoloom.stages.{stage}":
                raise
        else:
            for step in steps:
                if step.name == name:
                    return step
    raise InputError(f"there is no step {name!r}")


def params_model(step: type[Step[Params]]) -> type[Params]:
    """The parameter model of a step, as its class declares it: `class Filter(Step[FilterParams])`."""
    for base in step.__orig_bases__:  # type: ignore[attr-defined]
        for argument in getattr(base, "__args__", ()):
            if isinstance(argument, type) and issubclass(argument, Params):
                return argument
    raise TypeError(f"{step.__name__} does not say its parameters: class {step.__name__}(Step[SomeParams])")


def committed(store: Store, task: Task) -> Commit | None:
    """The commit of a task, None where it is not done. Raises CorruptDataError."""
    unreadable = CorruptDataError(f"{store.uri}/{task.commit_key} cannot be read; {WAY_OUT.format(store.uri)}")
    try:
        commit = Commit.model_validate_json(store.read(task.commit_key))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise unreadable from error
    if commit.task != task.key:
        raise unreadable
    return commit


def execute(task: Task, reached: Reached = lambda _: None) -> Commit:
    """Runs a task and commits it. A task that is committed already is not run again."""
    target = open_store(task.root)
    if (done := committed(target, task)) is not None:
        return done
    started, cpu_started = time.monotonic(), time.process_time()
    step_class = load_step(task.step)
    if step_class.version != task.version:
        raise InputError(f"{task.step} is version {step_class.version} here, the task wants version {task.version}")
    step = step_class(params_model(step_class).model_validate(task.params))
    parts = {table: share.resolve() for table, share in task.inputs.items()}
    inputs = {table: TableReader(share.root, parts[table], reached) for table, share in task.inputs.items()}
    with TaskWriter(target, task.prefix, step.writes) as writer:
        step.run(inputs, writer)
        tables = writer.finish()
        accounts = step.accounts
        ledger = writer.ledger(
            kept=accounts.kept if accounts else (),
            entering=entering(task, accounts.entering) if accounts and accounts.entering else None,
        )
    cost = Cost(
        seconds=round(time.monotonic() - started, 3),
        cpu_seconds=round(time.process_time() - cpu_started, 3),
        read_bytes=sum(sum(sizes_of(some)) for some in parts.values()),
        peak_memory=_own_peak() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    )
    # While this attempt was frozen, another may have committed, and log and manifest say what that one did. Of a step
    # that depends on more than its inputs, as a crawl does, this one's parts may be others.
    if (done := committed(target, task)) is not None:
        return done
    commit = Commit(task=task.key, tables=tables, ledger=ledger, cost=cost)
    stores.write(target, task.commit_key, commit.model_dump_json().encode())
    return commit


def _own_peak() -> int:
    """Resident bytes of this process at most so far; ru_maxrss begins with those of the process that started it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def entering(task: Task, table: str) -> Count:
    """What the table holds, counted apart from the step that reads it."""
    share = task.inputs[table]
    total = Count()
    for batch in TableReader(share.root, share.resolve()).batches(columns=COUNTED):
        for _, _, items, size in count_rows(batch):
            total += Count(items=items, size=size)
    return total
