"""Tasks of the probe stage, and a pool's run of them in a thread of its own."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Plan, Table
from repoloom.engine.pool import Outcome, Pool
from repoloom.engine.reconcile import Policy, reconcile
from repoloom.engine.task import Task


def make_task(out: Path, **params: Any) -> Task:
    """The one task that makes some repositories."""
    step = load_step("probe.make")
    plan = Plan(step(params_model(step)(**params)), {}, str(out / "probe.make"), 1)
    [task] = map(plan.task, plan)
    return task


def copy_tasks(pool: Pool, out: Path, bad: Mapping[str, str], **params: Any) -> list[Task]:
    """Makes repositories, and plans to copy them one a task."""
    make, copy = load_step("probe.make"), load_step("probe.copy")
    made = reconcile(make(params_model(make)(**params)), {}, str(out / "probe.make"), pool, Policy(task_bytes=1))
    step = copy(params_model(copy)(bad=dict(bad)))
    plan = Plan(step, {"files": Table(made, "files")}, str(out / "probe.copy"), 1)
    return list(map(plan.task, plan))


class Running:
    """A pool's run in a thread of its own."""

    def __init__(self, outcomes: Iterator[Outcome]) -> None:
        self._outcomes = outcomes
        self.ended: list[Outcome] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> list[Outcome]:
        self._thread.join()
        return self.ended

    def _run(self) -> None:
        self.ended.extend(self._outcomes)
