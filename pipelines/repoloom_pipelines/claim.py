"""Whose a store is, and that what lies there is still what was told of it: a name that every task is given.

Kubeflow's cache answers for a task what the task answered before, and looks at no store: of recipe A, then B, then A
again, or of sources that move and move back, it would answer what the store does not hold any more. So every task has
the store's claim among its inputs. It is a name and a number. The name is the same for as long as one recipe is run
there, and one that never was before when another comes. The number goes up where a dataset that was made under the name
gives way to another; the tasks after that one are given the new number.
"""

import hashlib

from repoloom import store as stores
from repoloom.corpus.dataset import Dataset
from repoloom.corpus.manifest import Record
from repoloom.corpus.stored import stored
from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.progress import recipe_identity
from repoloom.recipe.run import RUN, Made, RunRecord
from repoloom.store import Store, open_store

_CLAIM = "claim.json"


class _Claim(Record):
    recipe: str  # its identity
    name: str
    number: int = 0
    made: tuple[Made, ...] = ()  # under that name, as the tasks told: the cache may hold it

    @property
    def told(self) -> str:
        """As tasks are given it."""
        return f"{self.name}-{self.number}"


def claim(recipe: Recipe, uri: str) -> str:
    """Claims a store for the runs of a recipe, and returns the claim. Raises StoreError, CorruptDataError."""
    store = open_store(uri)
    identity = recipe_identity(recipe.model_dump())
    before = stored(store, _CLAIM, _Claim)
    if before is not None and before.recipe == identity and _holds(store, before):
        return before.told
    name = hashlib.sha256(f"{identity} after {before.told if before else 'nothing'}".encode()).hexdigest()[:16]
    found = _Claim(recipe=identity, name=name)
    _write(store, found)
    return found.told


def name_of(claimed: str) -> str:
    """What the runs of one recipe have in common for as long as no other comes."""
    return claimed.rpartition("-")[0]


def check_claim(uri: str, claimed: str) -> None:
    """Raises ConflictError where the store was claimed for another recipe since, or holds other datasets."""
    _found(open_store(uri), claimed)


class Claimed:
    """A claim as a task goes on by it that makes datasets."""

    def __init__(self, uri: str, claimed: str) -> None:
        """By the number that it has now: an attempt before this one may have made something anew.

        Raises ConflictError where the store was claimed for another recipe since.
        """
        self._uri = uri
        self._store = open_store(uri)
        found = stored(self._store, _CLAIM, _Claim)
        if found is None or found.name != name_of(claimed):
            raise _lost(uri)
        self.told = found.told

    def check(self) -> None:
        """Raises ConflictError where the store is not this task's any more."""
        check_claim(self._uri, self.told)

    def made(self, dataset: Dataset) -> None:
        """Takes what the task made; from where it is another than before the claim has a new number."""
        found = _found(self._store, self.told)
        new = Made(step=dataset.manifest.step, digest=dataset.digest)
        if new in found.made:
            return
        at = next((index for index, one in enumerate(found.made) if one.step == new.step), len(found.made))
        number = found.number + (at < len(found.made))
        found = found.model_copy(update={"number": number, "made": (*found.made[:at], new)})
        _write(self._store, found)
        self.told = found.told


def _found(store: Store, claimed: str) -> _Claim:
    found = stored(store, _CLAIM, _Claim)
    if found is None or found.told != claimed:
        raise _lost(store.uri)
    return found


def _lost(uri: str) -> ConflictError:
    return ConflictError(
        f"{uri} is used by a run of another recipe, or of other sources, since this one began; give every recipe a "
        "store of its own, or run them one after the other"
    )


def _holds(store: Store, claimed: _Claim) -> bool:
    """Whether what was made under a claim lies there: `repoloom run`, which makes no claim, may have made other."""
    if not store.exists(RUN):
        return not claimed.made
    run = RunRecord.read(store.uri)
    return recipe_identity(run.recipe) == claimed.recipe and set(claimed.made) <= set(run.made)


def _write(store: Store, claimed: _Claim) -> None:
    stores.write(store, _CLAIM, claimed.model_dump_json(indent=1).encode())
