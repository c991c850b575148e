"""Where the models of a training lie, each with its record: put, found again, fetched, and kept for those who serve.

The last stage's model is OUT/model, with OUT/training.json beside it; the others' lie in the same form at
OUT/stages/<stage>, so that a stage that changes is done again and those before it are not. Where it is asked for, a
copy of the last one's model is kept at OUT/models/<SHA-256 of its weights>, with the record among its files, for those
who serve it while OUT is trained anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repoloom import store as stores
from repoloom.corpus.stored import stored
from repoloom.engine.reconcile import Fence
from repoloom.errors import CorruptDataError
from repoloom.heartbeat import Heartbeat, unheard
from repoloom.recipe.results import MODEL, MODELS, TRAINING, StageName, Trained
from repoloom.scratch import scratch_folder
from repoloom.store import Store
from repoloom.store.folders import download, sha256, upload

LAST = ""
"""The place of the last stage: where its model and its record lie, as a key begins."""

STAGES = "stages"
WEIGHTS = "model.safetensors"


def aside(stage: StageName) -> str:
    """The place of a stage that others follow."""
    return f"{STAGES}/{stage}/"


@dataclass(frozen=True)
class Models:
    """The models of an output. `fence` is asked before what takes the place of another's."""

    store: Store
    fence: Fence = lambda: None

    def find(self, stage: StageName, identity: str, heartbeat: Heartbeat = unheard) -> tuple[str, Trained] | None:
        """What the same stage came to, and the place of its model, which is whole."""
        for place in (LAST, aside(stage)):
            trained = stored(self.store, f"{place}{TRAINING}", Trained)
            same = trained and trained.identity == identity and trained.stages
            if trained and same and sha256(self.store, f"{place}{MODEL}/{WEIGHTS}", heartbeat) == trained.weights:
                return place, trained
        return None

    def bring(self, stage: StageName, place: str, identity: str, heartbeat: Heartbeat) -> Trained | None:
        """What the same stage came to, if its model is still there; from elsewhere it is brought to that place.

        It lies elsewhere where a recipe has got a stage more since, or has lost one.
        """
        found = self.find(stage, identity, heartbeat)
        if found is None:
            return None
        elsewhere, trained = found
        if elsewhere != place:
            with self.fetched(f"{elsewhere}{MODEL}", trained.weights, heartbeat) as folder:
                self.put(place, folder, heartbeat)
            self.record(place, trained)
        return trained

    def put(self, place: str, folder: Path, heartbeat: Heartbeat) -> str:
        """Puts an exported model, once the record of the former one is gone; returns the SHA-256 of its weights."""
        self.fence()
        self.store.delete(f"{place}{TRAINING}")
        return upload(folder, self.store, f"{place}{MODEL}", heartbeat)[WEIGHTS]

    def record(self, place: str, trained: Trained) -> None:
        """Puts the record of a model that lies there."""
        self.fence()
        stores.write(self.store, f"{place}{TRAINING}", trained.model_dump_json(indent=1).encode())

    def keep(self, trained: Trained, heartbeat: Heartbeat) -> Trained:
        """Copies the last stage's model to where it is kept, unless it is there, and tells so in its record.

        A copy without its record is not whole.
        """
        key = f"{MODELS}/{trained.weights}"
        kept = trained.model_copy(update={"kept": key})
        told = stored(self.store, f"{key}/{TRAINING}", Trained)
        if told != kept or sha256(self.store, f"{key}/{WEIGHTS}", heartbeat) != trained.weights:
            self.store.delete(f"{key}/{TRAINING}")
            with self.fetched(MODEL, trained.weights, heartbeat) as folder:
                upload(folder, self.store, key, heartbeat)
            self.record(f"{key}/", kept)
        if trained != kept:
            self.record(LAST, kept)
        return kept

    @contextmanager
    def fetched(self, key: str, weights: str, heartbeat: Heartbeat = unheard) -> Iterator[Path]:
        """A folder that holds the model that lies there. Raises CorruptDataError where it has other weights."""
        with scratch_folder("repoloom-model-") as scratch:
            try:
                found = download(self.store, key, scratch, heartbeat).get(WEIGHTS)
            except FileNotFoundError:  # it is being replaced
                found = None
            if found != weights:
                raise CorruptDataError(f"{self.store.uri}/{key} is not the model that {TRAINING} is of; train again")
            yield scratch
