"""Calm progress: one live line for the step at work, one line that stays for each that is done."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from repoloom.cli.live import LiveLine
from repoloom.cli.output import bytes_text, safe
from repoloom.corpus.dataset import Dataset
from repoloom.engine.reconcile import Status
from repoloom.report.notices import notices


class Rows(NamedTuple):
    """What the rows of a step's main table are."""

    table: str
    one: str
    many: str


MADE: Mapping[str, Rows] = {
    "crawl.sources": Rows("sources", "source", "sources"),
    "dedup.numbers": Rows("numbers", "number to plan with", "numbers to plan with"),
    "dedup.signatures": Rows("signatures", "repository", "repositories"),
    "dedup.bands": Rows("banded", "bucket entry", "bucket entries"),
    "dedup.candidates": Rows("candidates", "candidate pair", "candidate pairs"),
    "dedup.fetch": Rows("shipped", "sketch sent", "sketches sent"),
    "dedup.verify": Rows("similar", "similar pair", "similar pairs"),
    "dedup.resolve": Rows("verdicts", "near-duplicate", "near-duplicates"),
    "dedup.clusters": Rows("clusters", "repository in clusters", "repositories in clusters"),
    "dedup.alarms": Rows("alarms", "source with nothing left", "sources with nothing left"),
    "decontaminate.benchmarks": Rows("benchmarks", "benchmark text", "benchmark texts"),
    "split.heldout": Rows("heldout", "document held out", "documents held out"),
    "split.files": Rows("heldout_files", "distinct file held out", "distinct files held out"),
    "tokenize.vocabulary": Rows("tokenizer", "tokenizer", "tokenizers"),
    "tokenize": Rows("pieces", "piece", "pieces"),
    "mix": Rows("mixture", "domain", "domains"),
}
"""For each step that keeps no accounts, of files or of pieces."""


class RunView(LiveLine):
    """Shows a run's data path on a terminal; in a log, only the lines that stay."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, MofNCompleteColumn(), TextColumn("tasks"), TimeElapsedColumn())
        self._started = time.monotonic()
        self._reused = 0

    def status(self, status: Status) -> None:
        """Moves the live line."""
        if not self.is_at(status.step):
            self.turn_to(status.step)
            self._started = time.monotonic()
        self._reused = status.reused
        self.move(status.done, status.tasks)

    def made(self, dataset: Dataset) -> None:
        """Leaves the line of a finished step."""
        seconds = time.monotonic() - self._started
        words = [f"[green]✓[/] {dataset.manifest.step:<22}", _amount(dataset)]
        words.append(f"{seconds:6.1f} s")
        if self._reused:
            words.append(f"[dim]{self._reused} of its tasks were done before[/]")
        self.console.print(" ".join(words), highlight=False, soft_wrap=True)
        for notice in notices(dataset):
            self.console.print(Text.assemble(("  warning: ", "bold yellow"), safe(notice.sentence)), soft_wrap=True)
        for failure in dataset.manifest.quarantined:
            where = f" at {failure.at}" if failure.at else ""
            said = failure.error.partition("\n")[0]
            self.console.print("  [yellow]![/]", safe(f"{failure.kind}{where}: {said}"), soft_wrap=True)


def _amount(dataset: Dataset) -> str:
    """What entered and what was kept; of a step without accounts, what it made."""
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
