"""Calm progress: one live line for the step at work, one line that stays for each that is done."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from repoloom.cli.output import bytes_text, safe
from repoloom.corpus.dataset import Dataset
from repoloom.engine.reconcile import Status


class RunView:
    """Shows a run's data path on a terminal; in a log, only the lines that stay."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("tasks"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._row: TaskID | None = None
        self._step = ""
        self._started = time.monotonic()
        self._reused = 0

    def __enter__(self) -> "RunView":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def status(self, status: Status) -> None:
        """Moves the live line."""
        if status.step != self._step:
            self._step, self._started = status.step, time.monotonic()
            if self._row is not None:
                self._progress.remove_task(self._row)
            self._row = self._progress.add_task(status.step, total=status.tasks)
        self._reused = status.reused
        assert self._row is not None
        self._progress.update(self._row, completed=status.done, total=status.tasks)

    def made(self, dataset: Dataset) -> None:
        """Leaves the line of a finished step."""
        seconds = time.monotonic() - self._started
        ledger = dataset.manifest.ledger
        words = [f"[green]✓[/] {dataset.manifest.step:<22}"]
        if ledger.entering.items:
            kept = ledger.total_kept
            unit, size = ("pieces", _tokens) if dataset.manifest.step == "pack" else ("files", bytes_text)
            words.append(f"{ledger.entering.items:>9,} → {kept.items:>9,} {unit:<6} {size(kept.size):>10}")
        else:
            rows = sum(part.rows for parts in dataset.manifest.tables.values() for part in parts)
            words.append(f"{rows:>9,} rows{'':30}")
        words.append(f"{seconds:6.1f} s")
        if self._reused:
            words.append(f"[dim]{self._reused} of its tasks were done before[/]")
        self.console.print(" ".join(words), highlight=False, soft_wrap=True)
        for failure in dataset.manifest.quarantined:
            where = f" at {failure.at}" if failure.at else ""
            said = failure.error.partition("\n")[0]
            self.console.print("  [yellow]![/]", safe(f"{failure.kind}{where}: {said}"), soft_wrap=True)


def _tokens(count: float) -> str:
    return f"{count / 1e6:.2f} Mtok"
