"""The files of an exported model, wherever they lie: brought here, and held to be those that were meant."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repoloom.errors import CorruptDataError, InputError
from repoloom.store import Store, open_store
from repoloom.store.folder import store_errors
from repoloom.training.export import PROMPT

WEIGHTS = "model.safetensors"
_NEEDED = ("config.json", "tokenizer.json", WEIGHTS)
_PIECE = 8 << 20


@dataclass(frozen=True)
class ModelFiles:
    """A local folder that holds a model."""

    folder: Path
    digest: str  # sha256:… of its weights


@contextlib.contextmanager
def fetched(uri: str, digest: str | None = None) -> Iterator[ModelFiles]:
    """Copies of the files of the model at an address, while the block runs.

    Raises InputError where there is no model, CorruptDataError where its weights do not have the digest that is given.
    """
    store = open_store(uri)
    with tempfile.TemporaryDirectory(prefix="repoloom-model-") as name:
        digests: dict[str, str] = {}
        for key in (*_NEEDED, PROMPT):
            try:
                digests[key] = _copy(store, key, Path(name, key))
            except FileNotFoundError:
                if key in _NEEDED:
                    raise InputError(f"{uri} holds no exported model: there is no {key}") from None
        if digest is not None and digests[WEIGHTS] != (meant := f"sha256:{digest.removeprefix('sha256:').lower()}"):
            raise CorruptDataError(f"{uri}/{WEIGHTS} is {digests[WEIGHTS]}, and {meant} was meant")
        yield ModelFiles(Path(name), digests[WEIGHTS])


def _copy(store: Store, key: str, to: Path) -> str:
    """Copies an object; the digest of what was written. Raises FileNotFoundError."""
    digest = hashlib.sha256()
    with store.open(key) as source, store_errors(to), to.open("wb") as target:
        while piece := source.read(_PIECE):
            digest.update(piece)
            target.write(piece)
    return f"sha256:{digest.hexdigest()}"
