"""Where a run of the data path stands, written beside what it makes: for whoever watches it from elsewhere."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Literal

from pydantic import JsonValue

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record, canonical_json
from repoloom.corpus.stored import stored
from repoloom.engine.reconcile import Status
from repoloom.errors import RepoloomError, StoreError
from repoloom.recipe.sections import steps
from repoloom.store import Store, open_store

PROGRESS = "progress.json"
_SECONDS = 2.0  # between two writes within a step: far below what a reader waits between two looks
_LONGEST = 2000  # characters of an error that are kept


class Progress(Record):
    """What progress.json holds. It says nothing of when: an unfinished one may be of a run that was killed."""

    recipe: str  # its identity, see `recipe_identity`
    state: Literal["running", "done", "failed"]
    steps_total: int
    steps_done: int = 0
    stage: str = ""  # at work, "" before the first and after the last
    step: str = ""
    tasks: int = 0  # of that step
    done: int = 0
    quarantined: int = 0  # tasks given up: of the step while it is at work, of all steps at the end
    message: str = ""  # why it failed

    @classmethod
    def read(cls, store: Store) -> "Progress | None":
        """What a run says below an address; None where none has begun. Raises StoreError."""
        return stored(store, PROGRESS, cls)


def recipe_identity(recipe: Mapping[str, JsonValue]) -> str:
    """`sha256:` and the SHA-256 of a recipe with all its defaults, as `Recipe.model_dump` has it."""
    return "sha256:" + hashlib.sha256(canonical_json(recipe)).hexdigest()


class Told:
    """Keeps progress.json as a run goes on."""

    def __init__(self, store: Store, now: Progress, clock: Callable[[], float]) -> None:
        self._store, self._now, self._clock = store, now, clock
        self._given_up = 0
        self._due = 0.0
        self._write()

    def status(self, status: Status) -> None:
        """Takes where the step at work stands."""
        begins = status.step != self._now.step
        self._now = self._now.model_copy(
            update={
                "stage": status.step.partition(".")[0],
                "step": status.step,
                "tasks": status.tasks,
                "done": status.done,
                "quarantined": status.quarantined,
            }
        )
        if begins or self._clock() >= self._due:
            self._write()

    def made(self, dataset: Dataset) -> None:
        """Takes that a step is done."""
        self._given_up += len(dataset.manifest.quarantined)
        self._now = self._now.model_copy(update={"steps_done": self._now.steps_done + 1})

    def done(self) -> None:
        """Says that all was done that could be."""
        whole = {"state": "done", "stage": "", "step": "", "tasks": 0, "done": 0, "quarantined": self._given_up}
        self._now = self._now.model_copy(update=whole)
        self._write()

    def failed(self, error: RepoloomError) -> None:
        """Says why the run ended, unless the store does not take it: then that is the lesser news."""
        self._now = self._now.model_copy(update={"state": "failed", "message": str(error)[:_LONGEST]})
        with suppress(StoreError):
            self._write()

    def _write(self) -> None:
        self._due = self._clock() + _SECONDS
        stores.write(self._store, PROGRESS, self._now.model_dump_json(indent=1).encode())


@contextmanager
def told(
    uri: str, recipe: Mapping[str, JsonValue], stages: tuple[str, ...], clock: Callable[[], float] = time.monotonic
) -> Iterator[Told]:
    """Tells below an address how the run of these stages goes, that it is done, or why it failed. Raises StoreError."""
    total = sum(len(steps(stage)) for stage in stages)
    begun = Progress(recipe=recipe_identity(recipe), state="running", steps_total=total)
    telling = Told(open_store(uri), begun, clock)
    try:
        yield telling
    except RepoloomError as error:
        telling.failed(error)
        raise
    telling.done()
