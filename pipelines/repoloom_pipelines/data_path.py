"""One stage of the data path, as a task of a pipeline does it."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue
from rich.console import Console

from repoloom.cli.engine import Engine, check_files, open_pool
from repoloom.cli.progress import RunView
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.engine.queue import REDIS_URL
from repoloom.recipe.hold import hold
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import Watcher, run_next_stage
from repoloom_pipelines.claim import Claimed


class Made(Record):
    """What a stage made, as its artifacts say it."""

    uri: str
    digest: str
    metadata: dict[str, JsonValue]
    counts: dict[str, int]  # what entered, was kept and was dropped, by the ledgers


def make(stage: str, recipe: str, store: str, claimed: str, given: str, workers: int) -> tuple[Made, str]:
    """Brings the datasets of a stage to be, by Celery where REPOLOOM_REDIS_URL is set, else by `workers` processes.

    What an attempt before this one committed is taken over. Returns the claim for the stages after it, too. Raises
    RepoloomError.
    """
    wanted = Recipe.parse(recipe, "recipe")
    engine = Engine.CELERY if os.environ.get(REDIS_URL) else Engine.LOCAL
    check_files(engine, stage, wanted.section(stage), wanted.where)
    claim = Claimed(store, claimed)
    with (
        hold(store),
        RunView(Console(stderr=True)) as view,
        open_pool(engine, workers, wanted.limits) as pool,
    ):

        def made(dataset: Dataset) -> None:
            claim.made(dataset)
            view.made(dataset)

        datasets = run_next_stage(stage, wanted, store, given, pool, Watcher(view.status, made), claim.check)
    return made_of(datasets), claim.told


def made_of(datasets: Sequence[Dataset]) -> Made:
    """What the datasets of a stage come to; the last of them is what the next stage goes on from."""
    last = datasets[-1]
    tables = last.manifest.tables
    return Made(
        uri=last.uri,
        digest=last.digest,
        metadata={
            "step": last.manifest.step,
            "digest": last.digest,
            "rows": sum(listing.rows for listing in tables.values()),
            "bytes": sum(listing.bytes for listing in tables.values()),
            "tables": {
                name: {"rows": listing.rows, "bytes": listing.bytes, "parts": listing.parts}
                for name, listing in tables.items()
            },
            "inputs": dict(last.manifest.inputs),
        },
        counts=_counts(datasets),
    )


def _counts(datasets: Sequence[Dataset]) -> dict[str, int]:
    """The accounts of a stage: one of its steps keeps them, or none does."""
    counts: Counter[str] = Counter()
    for manifest in (dataset.manifest for dataset in datasets):
        ledger: Any = manifest.ledger
        counts["entering"] += ledger.entering.items
        counts["kept"] += ledger.total_kept.items
        counts["dropped"] += ledger.total_dropped.items
        counts["tasks_given_up"] += len(manifest.quarantined)
        for rule, languages in ledger.dropped.items():
            counts[f"dropped_{rule}"] += sum(count.items for count in languages.values())
    return dict(counts)
