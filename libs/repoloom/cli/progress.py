"""Calm progress: one live line for the step at work, one line that stays for each stage that is done."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from repoloom.cli.live import LiveLine
from repoloom.cli.output import bytes_text, safe
from repoloom.corpus.dataset import Dataset
from repoloom.engine.reconcile import Status
from repoloom.recipe.sections import steps
from repoloom.report.notices import notices

T = TypeVar("T")


def both(first: Callable[[T], None], second: Callable[[T], None]) -> Callable[[T], None]:
    """Tells one thing to two who watch."""

    def tell(news: T) -> None:
        first(news)
        second(news)

    return tell


class Rows(NamedTuple):
    """What the rows of a stage's main table are."""

    table: str
    one: str
    many: str


MADE: Mapping[str, Rows] = {
    "tokenize": Rows("pieces", "piece", "pieces"),
    "mix": Rows("mixture", "domain", "domains"),
}
"""For each stage whose last step keeps no accounts, of files or of pieces."""


class RunView(LiveLine):
    """Shows a run's data path on a terminal; in a log, only the lines that stay."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, MofNCompleteColumn(), TextColumn("tasks"), TimeElapsedColumn())
        self._started: float | None = None  # the stage at work
        self._reused: dict[str, int] = {}

    def status(self, status: Status) -> None:
        """Moves the live line."""
        if not self.is_at(status.step):
            self.turn_to(status.step)
        self._started = self._started or time.monotonic()
        self._reused[status.step] = status.reused
        self.move(status.done, status.tasks)

    def made(self, dataset: Dataset) -> None:
        """Leaves the line of a stage when its last step is done, and what is to be known of each step at once."""
        stage = dataset.manifest.step.partition(".")[0]
        if dataset.manifest.step == steps(stage)[-1].name:
            seconds = time.monotonic() - (self._started or time.monotonic())
            words = [f"[green]✓[/] {stage:<22}", _amount(dataset), f"{seconds:6.1f} s"]
            if reused := sum(self._reused.values()):
                words.append(f"[dim]{reused} of its tasks were done before[/]")
            self.console.print(" ".join(words), highlight=False, soft_wrap=True)
            self._started = None
            self._reused.clear()
        for notice in notices(dataset):
            self.console.print(Text.assemble(("  warning: ", "bold yellow"), safe(notice.sentence)), soft_wrap=True)
        for failure in dataset.manifest.quarantined:
            where = f" at {failure.at}" if failure.at else ""
            said = failure.error.partition("\n")[0]
            self.console.print("  [yellow]![/]", safe(f"{failure.kind}{where}: {said}"), soft_wrap=True)


def _amount(dataset: Dataset) -> str:
    """What entered and what was kept; of a stage without accounts, what it made."""
    manifest = dataset.manifest
    if what := MADE.get(manifest.step):
        rows = manifest.tables[what.table].rows
        return f"{rows:>9,} {what.one if rows == 1 else what.many:<29}"
    kept = manifest.ledger.total_kept
    unit, size = ("piece", _tokens) if manifest.step == "pack" else ("file", bytes_text)
    units = unit if kept.items == 1 else unit + "s"
    return f"{manifest.ledger.entering.items:>9,} → {kept.items:>9,} {units:<6} {size(kept.size):>10}"


def _tokens(count: float) -> str:
    return f"{count / 1e6:.2f} Mtok"
