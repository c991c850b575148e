"""The report of a run: one self-contained HTML page.

`gather` reads the datasets, `render` makes the page of what it found. Each part of the page is a module that says what
is shown and where it comes from, and a template of the same name that says how.
"""

from collections.abc import Sequence

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.evaluation.result import Evaluation
from repoloom.report.gather import gather
from repoloom.report.page import render
from repoloom.report.training import TrainingRecord, TrainingStage, TrainingStep
from repoloom.store import Store

__all__ = ["TrainingRecord", "TrainingStage", "TrainingStep", "gather", "render", "write_report"]


def write_report(
    name: str,
    datasets: Sequence[Dataset],
    training: TrainingRecord | None,
    evaluation: Evaluation | None,
    store: Store,
    key: str,
) -> None:
    """Writes the page of a run, given its datasets in the order they were made."""
    stores.write(store, key, render(gather(name, datasets, training, evaluation)).encode())
