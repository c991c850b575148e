"""A line that moves while something is at work and is gone when it is done; a log does not have it."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn


class LiveLine:
    """What is at work, a bar, and the `columns`."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=24),
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._row: TaskID | None = None
        self._at_work = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def is_at(self, at_work: str) -> bool:
        """Whether the line is of this."""
        return at_work == self._at_work

    def turn_to(self, at_work: str, said: str = "") -> None:
        """Begins a new line, and with it the time anew."""
        self._at_work = at_work
        if self._row is not None:
            self._progress.remove_task(self._row)
        self._row = self._progress.add_task(at_work, total=None, said=said)

    def move(self, done: int, total: int, said: str = "") -> None:
        """Moves the line that was turned to."""
        assert self._row is not None
        self._progress.update(self._row, completed=done, total=total, said=said)
