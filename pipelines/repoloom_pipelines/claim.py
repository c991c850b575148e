"""Whose a store is: the runs of one recipe share it, those of another take it over, and each of them can tell.

Kubeflow's cache answers for a task what the task answered before, and looks at no store: after recipe A, then B, then A
again, it would answer with A's digests while the store holds what B made. So every task has the store's claim among its
inputs. It is the same for as long as one recipe is run there, and one that never was before when another recipe comes.
"""

import hashlib

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.manifest import Record
from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.progress import recipe_identity
from repoloom.recipe.run import RUN, RunRecord
from repoloom.store import Store, open_store

_CLAIM = "claim.json"


class _Claim(Record):
    recipe: str  # its identity
    name: str


def claim(recipe: Recipe, uri: str) -> str:
    """Claims a store for the runs of a recipe, and returns the claim's name. Raises StoreError, CorruptDataError."""
    store = open_store(uri)
    identity = recipe_identity(recipe.model_dump())
    before = _read(store)
    if before is not None and before.recipe == identity and _made_by(store) in (None, identity):
        return before.name
    name = hashlib.sha256(f"{identity} after {before.name if before else 'nothing'}".encode()).hexdigest()[:16]
    stores.write(store, _CLAIM, _Claim(recipe=identity, name=name).model_dump_json(indent=1).encode())
    return name


def check_claim(uri: str, name: str) -> None:
    """Raises ConflictError where the store was claimed for another recipe since."""
    found = _read(open_store(uri))
    if found is None or found.name != name:
        raise ConflictError(
            f"{uri} is used by a run of another recipe since this one began; give every recipe a store of its own, or "
            "run them one after the other"
        )


def _made_by(store: Store) -> str | None:
    """The recipe of what lies there: `repoloom run` may have made it, which makes no claim."""
    return recipe_identity(RunRecord.read(store.uri).recipe) if store.exists(RUN) else None


def _read(store: Store) -> _Claim | None:
    try:
        return _Claim.model_validate_json(store.read(_CLAIM))
    except (FileNotFoundError, ValidationError):
        return None
