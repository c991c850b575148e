"""The plan of a step: its tasks, one after the other, as often as they are asked for and never all at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Listing, Manifest
from repoloom.corpus.parts import Parts, digest_of, sizes_of
from repoloom.engine.step import Params, Shares, Step
from repoloom.engine.task import Share, Task, task_key, work_digest


@dataclass(frozen=True)
class Table:
    """A table that steps can read: some dataset's."""

    dataset: Dataset
    name: str

    @property
    def parts(self) -> Parts:
        """Its parts."""
        return self.dataset.parts(self.name)

    @property
    def listing(self) -> Listing:
        """How many they are, and what they come to."""
        return self.dataset.manifest.tables[self.name]


@dataclass(frozen=True)
class Plan:
    """The tasks of a step over tables: a pure function of the step, its parameters and the tables' parts."""

    step: Step[Params]
    tables: Mapping[str, Table]
    root: str
    task_bytes: int

    def __iter__(self) -> Iterator[Shares]:
        return iter(self.step.plan({name: self.tables[name].parts for name in self.step.reads}, self.task_bytes))

    @cached_property
    def params(self) -> dict[str, JsonValue]:
        """The step's parameters as JSON."""
        return self.step.params.model_dump(mode="json")

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The digests of the datasets that are read, by table."""
        return {name: self.tables[name].dataset.digest for name in self.step.reads}

    @cached_property
    def work(self) -> bytes:
        """`work_digest` of the step."""
        return work_digest(self.step.name, self.step.version, self.params)

    def key(self, shares: Shares) -> str:
        """The key of the task that is given these shares."""
        return task_key(self.work, {name: digest_of(parts) for name, parts in shares.items()})

    def task(self, shares: Shares) -> Task:
        """The task that is given these shares."""
        tables = self.tables
        inputs = {name: Share.of(tables[name].dataset, tables[name].name, parts) for name, parts in shares.items()}
        return Task(step=self.step.name, version=self.step.version, params=self.params, inputs=inputs, root=self.root)

    def read_bytes(self, shares: Shares) -> int:
        """The stored bytes that a task reads of the step's first table."""
        return sum(size for name in self.step.reads[:1] for size in sizes_of(shares.get(name, ())))

    def is_done(self, manifest: Manifest) -> bool:
        """Whether a dataset is what all tasks of this very plan come to, so that none of them need be looked at."""
        return not manifest.quarantined and (
            (manifest.step, manifest.version, manifest.params, manifest.inputs, manifest.cut.task_bytes)
            == (self.step.name, self.step.version, self.params, self.inputs, self.task_bytes)
        )
