"""Where a model comes from, out of the record that training keeps beside it."""

from pydantic import BaseModel, ValidationError

from repoloom.errors import RepoloomError
from repoloom.store import open_store


class Lineage(BaseModel):
    """What of `repoloom.recipe.model_path.Trained` a caller of the model may want to know."""

    weights: str
    packed: str  # digest of the corpus, packed
    identity: str  # of the training: recipe and corpus
    parameters: int


def lineage(uri: str, digest: str) -> Lineage | None:
    """The record beside the model at an address; None where there is none, or it tells of other weights."""
    parent, _, _ = uri.rstrip("/").rpartition("/")
    try:
        found = Lineage.model_validate_json(open_store(parent or ".").read("training.json"))
    except (FileNotFoundError, ValidationError, RepoloomError):  # the model is served without, if it may not be read
        return None
    return found if found.weights.removeprefix("sha256:") == digest.removeprefix("sha256:") else None
