"""The corpus in longer sequences, for context extension: its documents are cut, mixed and packed anew.

Sequences of pieces that were cut for a shorter context would teach nothing of a longer one, since attention does not
leave a piece. So the very steps of the data path run again with another length, on what pretraining had left of the
documents and with its tokenizer.
"""

from collections.abc import Mapping

from repoloom.cores import cores
from repoloom.corpus.dataset import Dataset
from repoloom.engine.plan import Table
from repoloom.engine.pool import LocalPool
from repoloom.engine.reconcile import Fence, reconcile
from repoloom.errors import CorruptDataError
from repoloom.heartbeat import Heartbeat
from repoloom.recipe.model import Recipe
from repoloom.recipe.sections import configure, steps

_FOLDER = "extend"
_STAGES = ("tokenize", "mix", "pack")  # of each the last step: the vocabulary stays as it is


def pack_longer(
    recipe: Recipe, made: Mapping[str, Dataset], sequence_length: int, out: str, fence: Fence, heartbeat: Heartbeat
) -> Dataset:
    """The packed tokens of a run's documents in sequences of that length, below OUT/extend; what is there is kept.

    `made`: the run's datasets by step. Worker processes of this machine do it, and `heartbeat` beats for each task.
    Raises CorruptDataError where a task was given up, and what `reconcile` raises.
    """
    tables = {
        name: Table(made[step], name) for step, name in (("split", "documents"), ("tokenize.vocabulary", "tokenizer"))
    }
    with LocalPool(cores(), recipe.limits) as pool:
        for stage in _STAGES:
            step = configure(steps(stage)[-1], {**recipe.section(stage), "sequence_length": sequence_length})
            root = f"{out.rstrip('/')}/{_FOLDER}/{step.name}"
            dataset = reconcile(step, tables, root, pool, recipe.engine, lambda _: heartbeat(), fence)
            for failure in dataset.manifest.quarantined:
                raise CorruptDataError(
                    f"{dataset.uri} is not whole, at {failure.at or 'its start'}: {failure.error}; "
                    f"`repoloom retry {dataset.uri}` and training again tries it anew"
                )
            tables.update({name: Table(dataset, name) for name in step.writes})
    return dataset
