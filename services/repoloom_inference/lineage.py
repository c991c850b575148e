"""Where a model comes from, out of the record that training keeps with it."""

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
    """The record in the model's folder, or beside that; None where there is none that tells of these weights."""
    folder = uri.rstrip("/")
    for place in (folder, folder.rpartition("/")[0] or "."):
        try:
            found = Lineage.model_validate_json(open_store(place).read("training.json"))
        except (FileNotFoundError, ValidationError, RepoloomError):  # served without, if it may not be read
            continue
        if found.weights.removeprefix("sha256:") == digest.removeprefix("sha256:"):
            return found
    return None
