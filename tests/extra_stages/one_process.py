"""The copying of a table in one process, so that one kill can hit the run and its task at once."""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from repoloom.corpus.dataset import Dataset
from repoloom.engine.execute import execute, load_step, params_model
from repoloom.engine.plan import Table
from repoloom.engine.pool import Outcome, Pool
from repoloom.engine.reconcile import Policy, Watch, reconcile
from repoloom.engine.task import Attempt, Kind, Task

BAD = {"probe/001": "raise"}


class OneProcess:
    """Does the tasks in the run's own process."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            try:
                yield Outcome(task, execute(task))
            except ValueError as error:
                yield Outcome(task, Attempt(kind=Kind.ERROR, error=type(error).__name__, at=""))


def copy(
    files: Table, out: Path | str, pool: Pool | None = None, watch: Watch = lambda _: None, **params: Any
) -> Dataset:
    """Copies a table, a task for each part; the second repository is bad."""
    step = load_step("probe.copy")
    given = params_model(step)(**{"bad": BAD, **params})
    return reconcile(
        step(given), {"files": files}, str(out), pool or OneProcess(), Policy(task_bytes=1, attempts=2), watch
    )


def forked(work: Callable[[], object]) -> int:
    """Does some work in a process of its own; returns its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
