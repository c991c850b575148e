"""A record that lies in a store by itself, in JSON."""

from typing import TypeVar

from pydantic import ValidationError

from repoloom.corpus.manifest import Record
from repoloom.store import Store

R = TypeVar("R", bound=Record)


def stored(store: Store, key: str, record: type[R]) -> R | None:
    """What was written there; None where nothing was, or one of another form, which is made anew. Raises StoreError."""
    try:
        return record.model_validate_json(store.read(key))
    except (FileNotFoundError, ValidationError):
        return None
