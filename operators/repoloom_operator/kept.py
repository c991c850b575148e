"""What the store says: read with the operator's own credentials, each record through the library that wrote it."""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count
from repoloom.corpus.stored import stored
from repoloom.errors import CorruptDataError, RepoloomError
from repoloom.recipe.progress import Progress, recipe_identity
from repoloom.recipe.results import EVALUATION, TRAINING, Evaluated, Trained
from repoloom.recipe.run import RUN, RunRecord
from repoloom.store import open_store
from repoloom.store.s3_requests import hurried
from repoloom.training.progress import PROGRESS, TrainingProgress
from repoloom_operator.corpus_build import Kept, Passage
from repoloom_operator.training_output import Output

_BENCHMARKS, _DECONTAMINATED = "decontaminate.benchmarks", "decontaminate"

PROBE = ".writable"

_PATIENCE = 5.0  # seconds: the operator looks again


def corpus(uri: str) -> Kept:
    """The run of a data path at an address. Trouble with the store is told, not raised: the rest goes on without it."""
    try:
        with hurried(_PATIENCE):
            store = open_store(uri)
            progress = Progress.read(store)
            if not store.exists(RUN):
                return Kept(progress)
            run = RunRecord.read(uri)
            made = run.made if progress is None or progress.state == "done" else run.made[: progress.steps_done]
            datasets = [_dataset(f"{store.uri}/{entry.step}", entry.digest) for entry in made]
    except RepoloomError as error:
        return Kept(trouble=str(error))
    return Kept(
        progress,
        {entry.step: entry.digest for entry in made},
        tuple(passage for dataset in datasets for passage in _passage(dataset)),
        recipe_identity(run.recipe),
    )


def contamination(uri: str, kept: Kept) -> Kept:
    """What is known of a corpus at an address, with how many texts it had of each benchmark that it was cleaned of.

    A benchmark that could not be loaded is none that was looked for.
    """
    if not kept.digests.keys() >= {_BENCHMARKS, _DECONTAMINATED}:
        return kept
    try:
        with hurried(_PATIENCE):
            root = open_store(uri).uri
            benchmarks = _dataset(f"{root}/{_BENCHMARKS}", kept.digests[_BENCHMARKS])
            hits = _hits(f"{root}/{_DECONTAMINATED}", kept.digests[_DECONTAMINATED])
    except RepoloomError as error:
        return replace(kept, trouble=str(error))
    return replace(kept, contamination={name: hits[name] for name in _names(benchmarks)})


def output(uri: str) -> Output:
    """The training at an address, and the evaluation of its model."""
    try:
        with hurried(_PATIENCE):
            store = open_store(uri)
            progress = stored(store, PROGRESS, TrainingProgress)
            return Output(progress, stored(store, TRAINING, Trained), stored(store, EVALUATION, Evaluated))
    except RepoloomError as error:
        return Output(trouble=str(error))


def unwritable(uri: str) -> str:
    """Why nothing can be written at an address, found out by trying; empty where it can."""
    try:
        with hurried(_PATIENCE):
            store = open_store(uri)
            stores.write(store, PROBE, b"")
            store.delete(PROBE)
    except RepoloomError as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=4096)
def _dataset(uri: str, digest: str) -> Dataset:
    """A dataset, whose digest is its identity: read once. Raises InputError, CorruptDataError."""
    dataset = Dataset.open(uri)
    if dataset.digest != digest:
        raise CorruptDataError(f"{uri} is {dataset.digest}, but the run made {digest}")
    return dataset


def _passage(dataset: Dataset) -> Iterator[Passage]:
    ledger = dataset.manifest.ledger
    if ledger.entering.items:
        yield Passage(
            step=dataset.manifest.step,
            entering=ledger.entering.items,
            kept=ledger.total_kept.items,
            quarantined=ledger.quarantined.items,
            dropped={rule: sum(counts.values(), Count()).items for rule, counts in ledger.dropped.items()},
        )


def _names(benchmarks: Dataset) -> Iterator[str]:
    sources = benchmarks.manifest.params["benchmarks"]
    assert isinstance(sources, list)
    if not benchmarks.manifest.quarantined:
        yield from (str(source["name"]) for source in sources if isinstance(source, dict))


@functools.lru_cache(maxsize=256)
def _hits(uri: str, digest: str) -> Counter[str]:
    """How many texts of each benchmark a decontamination found. Raises InputError, CorruptDataError, StoreError."""
    found = Counter[str]()
    for batch in _dataset(uri, digest).reader("hits").batches(["benchmark"]):
        found.update(batch["benchmark"].to_pylist())
    return found
