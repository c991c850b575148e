"""The last page of a run: its report, from whatever the run has made so far."""

from collections.abc import Sequence

from repoloom.corpus.dataset import Dataset
from repoloom.report import write_report
from repoloom.store import open_store

REPORT = "report.html"


def write_run_report(name: str, datasets: Sequence[Dataset], out: str) -> str:
    """Writes OUT/report.html of the run of the recipe `name`, and returns its address."""
    store = open_store(out)
    training = evaluation = None
    if store.exists("training.json"):
        from repoloom.recipe.model_path import results_at

        training, evaluation = results_at(out, datasets)
    write_report(name, datasets, training, evaluation, store, REPORT)
    return f"{store.uri}/{REPORT}"
