"""How each dataset came to be: step and version, parameters other than the defaults, digest, and what it cost."""

import json
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.engine.execute import load_step, params_model
from repoloom.engine.log import COSTS, CommitLog
from repoloom.engine.task import Cost
from repoloom.errors import InputError
from repoloom.report.limits import Limits

_TEXT_TABLES = {"files", "documents"}


class Setting(Record):
    """A parameter and the value it had, as JSON."""

    name: str
    value: str


class StepCost(Record):
    """What the tasks of a step took together."""

    tasks: int
    seconds: float  # of the tasks together, not of the clock on the wall
    cpu_seconds: float
    peak_memory: int  # bytes, of the task that took most
    bytes_read: int | None  # of source files as crawled; None for a step that reads no text


class Provenance(Record):
    """One dataset."""

    step: str
    version: int
    settings: tuple[Setting, ...]  # those that are not the default
    digest: str
    rows: int
    bytes: int  # as stored
    cost: StepCost | None


def provenance(datasets: Sequence[Dataset], limits: Limits) -> tuple[Provenance, ...]:
    """The datasets in the order they were made."""
    return tuple(_provenance(dataset, text, limits) for dataset, text in _with_text(datasets))


def _with_text(datasets: Sequence[Dataset]) -> Iterator[tuple[Dataset, int | None]]:
    """Each dataset and the bytes of the files that its step read."""
    text = 0
    for dataset in datasets:
        ledger = dataset.manifest.ledger
        reads_text = not _TEXT_TABLES.isdisjoint(dataset.manifest.inputs)
        accounts_for_text = ledger.entering.items and "pieces" not in dataset.manifest.inputs
        yield dataset, (ledger.entering.size if accounts_for_text else text if reads_text else None) or None
        text = ledger.total_kept.size if accounts_for_text else text


def _provenance(dataset: Dataset, text: int | None, limits: Limits) -> Provenance:
    tables = dataset.manifest.tables.values()
    costs = list(_costs(dataset))
    return Provenance(
        step=dataset.manifest.step,
        version=dataset.manifest.version,
        settings=tuple(_settings(dataset, limits)),
        digest=dataset.digest,
        rows=sum(table.rows for table in tables),
        bytes=sum(table.bytes for table in tables),
        cost=StepCost(
            tasks=len(costs),
            seconds=sum(cost.seconds for cost in costs),
            cpu_seconds=sum(cost.cpu_seconds for cost in costs),
            peak_memory=max(cost.peak_memory for cost in costs),
            bytes_read=text,
        )
        if costs
        else None,
    )


def _costs(dataset: Dataset) -> Iterator[Cost]:
    """The costs of the tasks whose parts make up the dataset."""
    tasks = {part.key.split("/")[1] for table in dataset.manifest.tables for part in dataset.parts(table)}
    for commits in CommitLog(dataset.store).segments():  # none where the dataset was copied without its log
        for row in commits.select(["task", *COSTS]).to_pylist():
            task = row.pop("task").hex()
            if task in tasks:
                tasks.remove(task)  # a commit may be in the log twice
                yield Cost(**row)


def _settings(dataset: Dataset, limits: Limits) -> Iterator[Setting]:
    defaults = _defaults(dataset.manifest.step)
    for name, value in sorted(dataset.manifest.params.items()):
        if name not in defaults or defaults[name] != value:
            text = json.dumps(value, ensure_ascii=False)
            if len(text) > limits.characters // 10:
                text = (
                    f"{len(value)} entries" if isinstance(value, list | dict) else text[: limits.characters // 10] + "…"
                )
            yield Setting(name=name, value=text)


def _defaults(step: str) -> dict[str, JsonValue]:
    """The default parameters of a step; none for a step that this version does not know."""
    try:
        model = params_model(load_step(step))
    except InputError:
        return {}
    return model.model_construct().model_dump(mode="json")
