"""What `repoloom up` shows: a calm screen on a terminal, a line for each event in a log."""

import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repoloom.cli.output import bytes_text, safe
from repoloom.up.observe import Observer, OpenJob, Sight
from repoloom.up.plan import Plan
from repoloom.up.supervisor import State, Watched

_COLOURS = {State.UP: "green", State.SILENT: "yellow", State.DOWN: "red", State.STARTING: "cyan"}
_REDRAW_SECONDS = 1.0


def next_command(env: str, store: str) -> str:
    """What to type next, in another shell."""
    return f". {shlex.quote(env)} && repoloom run RECIPE --engine celery --store {store}/run"


class UpView:
    """See the module's docstring."""

    def __init__(self, console: Console, env: str) -> None:
        self._console = console
        self._env = env
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._observer: Observer | None = None
        self._hint = Text()
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def began(self, plan: Plan) -> None:
        """Says what to do once it is up."""
        self._hint = Text.assemble(
            "Once all is up, in another shell:  ", safe(next_command(self._env, plan.store), "bold")
        )
        if self._live and plan.users:
            self._observer = Observer(plan.broker, plan.store, plan.services)
        else:
            self._console.print(self._hint, soft_wrap=True, highlight=False)

    def ready(self) -> None:
        """Says that it is up."""
        self.said("all is up; Ctrl-C ends it, what was made is kept")

    def said(self, line: str) -> None:
        """Leaves a line that stays."""
        clock = time.strftime("%H:%M:%S ")
        self._console.print(Text.assemble((clock, "dim"), safe(line)), soft_wrap=True, highlight=False)

    def show(self, watched: Sequence[Watched]) -> None:
        """Draws the screen again, once a second."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        sight = self._observer.sight if self._observer else Sight()
        self._live.update(Group(self._hint, Text(), show_stack(watched, sight)), refresh=True)


def show_stack(watched: Sequence[Watched], sight: Sight) -> Group:
    """The parts, and what goes on in them."""
    return Group(_parts(watched), _work(sight))


def _parts(watched: Sequence[Watched]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("part", "address", "state"):
        table.add_column(title)
    for title in ("restarts", "memory"):
        table.add_column(title, justify="right")
    memory = _memory_of_groups()
    for one in watched:
        table.add_row(
            one.part.name,
            one.part.address,
            Text(one.state, _COLOURS.get(one.state, "dim")),
            str(one.restarts) if one.restarts else "",
            bytes_text(memory[one.pid]) if one.pid else "",
        )
    return table


def _work(sight: Sight) -> Group:
    lines: list[Text | Table] = [Text()]
    for queue in sight.queues:
        kind = queue.name.split(".")[1]
        build = "" if queue.of_this_build else ", of another build: no worker here takes it"
        words = f"queue {kind}: {queue.waiting} waiting, {queue.running} running, {queue.workers} workers{build}"
        lines.append(safe(words))
    if sight.queues:
        lines.append(Text(f"{sight.taken} tasks taken by workers so far"))
    lines += [_job(job) for job in sight.jobs]
    return Group(*lines)


def _job(job: OpenJob) -> Text:
    service, _, identity = job.name.partition("/")
    name = f"job {service}/{identity[:8]}  {job.stage}"
    if job.progress is None:
        return safe(f"{name}  waiting")
    progress = job.progress
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
    step = f"step {min(progress.steps_done + 1, progress.steps)} of {progress.steps}" if progress.steps else "beginning"
    return safe(f"{name}  {step}, {progress.done} of {progress.tasks} tasks{left}")


def _memory_of_groups() -> Counter[int]:
    """Resident bytes by process group; pages that processes share count for each."""
    memory: Counter[int] = Counter()
    for process in psutil.process_iter(["memory_info"]):
        try:
            memory[os.getpgid(process.pid)] += process.info["memory_info"].rss
        except (ProcessLookupError, PermissionError, AttributeError):
            continue  # it ended meanwhile, or is another user's
    return memory
