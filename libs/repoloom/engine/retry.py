"""Giving failed work another chance: forgets failures, and commits whose parts are no longer what was committed."""

import re

from pydantic import ValidationError

from repoloom.corpus.dataset import MANIFEST
from repoloom.corpus.manifest import Record
from repoloom.corpus.reading import verify_part
from repoloom.engine.task import Commit
from repoloom.errors import CorruptDataError
from repoloom.store import open_store

_FAILURES = re.compile(r"failures/[0-9a-f]{32}\.json")
_COMMIT = re.compile(r"tasks/[0-9a-f]{32}/commit\.json")


class Forgotten(Record):
    """What was forgotten in a dataset."""

    failures: int
    corrupt: int


def forget(uri: str) -> Forgotten:
    """Makes the dataset's failed and corrupt tasks missing work again; the next run does them."""
    store = open_store(uri)
    failures = [key for key in store.list("failures") if _FAILURES.fullmatch(key)]
    for key in failures:
        store.delete(key)
    corrupt = [key for key in store.list("tasks") if _COMMIT.fullmatch(key) and not _holds(uri, key)]
    for key in corrupt:
        store.delete(key)
    if failures or corrupt:
        store.delete(MANIFEST)
    return Forgotten(failures=len(failures), corrupt=len(corrupt))


def _holds(uri: str, key: str) -> bool:
    store = open_store(uri)
    try:
        commit = Commit.model_validate_json(store.read(key))
        for parts in commit.tables.values():
            for part in parts:
                verify_part(store, part)
    except (CorruptDataError, ValidationError):
        return False
    return True
