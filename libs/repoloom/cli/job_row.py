"""A job as it is shown: a row of the list, the line of one that is watched."""

from collections.abc import Sequence
from datetime import UTC
from typing import Self

from pydantic import AwareDatetime
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn
from rich.table import Table
from rich.text import Text

from repoloom.cli.live import LiveLine
from repoloom.cli.output import safe
from repoloom.client import Operation
from repoloom.corpus.manifest import Record
from repoloom.errors import RepoloomError
from repoloom.protos.jobs.v1.jobs_pb2 import State

_SHORT = 8  # hexadecimal digits of an id, which tell it from all others in a list
_COLOURS = {"running": "cyan", "succeeded": "green", "failed": "red", "cancelled": "yellow"}


class JobRow(Record):
    """Where a job stands."""

    name: str  # operations/service/id
    stage: str
    state: str  # queued, running, succeeded, failed, cancelled
    output: str
    step: str
    steps_done: int
    steps: int
    tasks_done: int
    tasks: int
    quarantined: int
    tasks_per_second: float
    seconds_left: int | None
    created: AwareDatetime
    error: str | None
    datasets: dict[str, str]  # digests by step, once it has succeeded

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """The row of an operation."""
        job = operation.metadata
        error, datasets, quarantined = None, {}, job.tasks_quarantined
        if operation.done:
            try:
                made = operation.result.datasets
                datasets = {dataset.step: dataset.digest for dataset in made}
                quarantined = sum(dataset.quarantined for dataset in made)
            except RepoloomError as failure:
                error = str(failure)
        return cls(
            name=operation.name,
            stage=job.request.stage,
            state=State.Name(job.state).removeprefix("STATE_").lower(),
            output=job.request.output,
            step=job.step,
            steps_done=job.steps_done,
            steps=job.steps,
            tasks_done=job.tasks_done,
            tasks=job.tasks,
            quarantined=quarantined,
            tasks_per_second=job.tasks_per_second,
            seconds_left=job.time_left.seconds if job.HasField("time_left") else None,
            created=job.create_time.ToDatetime(tzinfo=UTC),
            error=error,
            datasets=datasets,
        )

    @property
    def short(self) -> str:
        """The name as people read and type it."""
        service, _, identity = self.name.removeprefix("operations/").partition("/")
        return f"{service}/{identity[:_SHORT]}"

    @property
    def at(self) -> str:
        """Which step it is at; the last one still when all are done."""
        return f"{self.step} ({min(self.steps_done + 1, self.steps)} of {self.steps})" if self.step else self.state

    def cells(self) -> tuple[Text, ...]:
        """The row of a table."""
        running = self.state == "running"
        tasks = f"{self.tasks_done} of {self.tasks}" if self.tasks else ""
        if self.quarantined:
            tasks += f", {self.quarantined} quarantined"
        return (
            safe(self.short),
            safe(self.stage + (f", {self.at}" if running and self.step else "")),
            Text(self.state, _COLOURS.get(self.state, "")),
            Text(tasks),
            Text(f"{self.tasks_per_second:.1f}" if running and self.tasks_per_second else ""),
            Text(_duration(self.seconds_left) if running and self.seconds_left is not None else ""),
        )


def table_of(rows: Sequence[JobRow]) -> Table:
    """A line for each job. On a narrow screen the stage gives way, and never the name, which is there to be typed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True, min_width=max(len(row.short) for row in rows))
    table.add_column("stage")
    table.add_column("state", no_wrap=True)
    for title in ("tasks", "per s", "left"):
        table.add_column(title, no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*row.cells())
    return table


class JobLine(LiveLine):
    """The line of one job: it moves on a terminal; in a log there is a line for each step."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, MofNCompleteColumn(), TextColumn("tasks  {task.fields[said]}"))

    def show(self, row: JobRow) -> None:
        """Moves the line."""
        if not self.is_at(row.at):
            self.turn_to(row.at)
            if not self.console.is_terminal:
                self.console.print(safe(f"{row.short}  {row.at}"), soft_wrap=True)
        left = "" if row.seconds_left is None else f"{_duration(row.seconds_left)} left"
        self.move(row.tasks_done, row.tasks, left)


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
