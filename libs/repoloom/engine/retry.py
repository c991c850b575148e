"""Giving failed work another chance: forgets failures, and commits whose parts are no longer what was committed."""

import functools
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.manifest import Record
from repoloom.corpus.reading import verify_part
from repoloom.engine.log import CommitLog, parts_of
from repoloom.engine.quarantine import keys_of_failures
from repoloom.engine.task import Commit
from repoloom.errors import CorruptDataError
from repoloom.store import Store, open_store

_AT_ONCE = 8  # commits whose parts are read
_COMMIT = re.compile(r"tasks/([0-9a-f]{32})/commit\.json")


class Forgotten(Record):
    """What was forgotten in a dataset."""

    failures: int
    corrupt: int  # commits, and lists of them or of parts


def forget(uri: str) -> Forgotten:
    """Makes the dataset's failed and corrupt tasks missing work again; the next run does them.

    Killed at any moment it leaves nothing that says of a task that it is done when its commit is gone.
    """
    store = open_store(uri)
    failures = keys_of_failures(store)
    commits = {match[0]: bytes.fromhex(match[1]) for key in store.list("tasks") if (match := _COMMIT.fullmatch(key))}
    held = {key: parts for key, parts in _parts_of_each(store, list(commits)) if parts is not None}
    corrupt = [key for key in commits if key not in held]
    unreadable = store.exists(MANIFEST) and not _lists_its_parts(uri)
    if failures or corrupt or unreadable:
        store.delete(MANIFEST)
    lost = CommitLog(store).keep({commits[key]: parts for key, parts in held.items()})
    for key in (*corrupt, *failures):
        store.delete(key)
    return Forgotten(failures=len(failures), corrupt=len(corrupt) + lost + unreadable)


def _parts_of_each(store: Store, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    with ThreadPoolExecutor(_AT_ONCE) as readers:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            yield from zip(some, readers.map(functools.partial(_parts, store), some), strict=True)


def _parts(store: Store, key: str) -> bytes | None:
    """The `parts_of` a commit; None where they are not all what was committed."""
    try:
        commit = Commit.model_validate_json(store.read(key))
        for parts in commit.tables.values():
            for part in parts:
                verify_part(store, part)
    except (CorruptDataError, ValidationError):
        return None
    return parts_of(commit) if key == f"tasks/{commit.task}/commit.json" else None


def _lists_its_parts(uri: str) -> bool:
    try:
        dataset = Dataset.open(uri)
        for table in dataset.manifest.tables:
            dataset.parts(table)
    except CorruptDataError:
        return False
    return True
