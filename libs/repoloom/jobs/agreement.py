"""One of the values that are proposed for something, the same for all who ask, whoever dies and whatever comes between.

Disk Paxos (E. Gafni, L. Lamport, Distributed Computing 16, 2003) with the store as its only disk. Each proposer writes
an object of its own and then looks at those of the others, so that no store need refuse a write because another came
first; it must only show, in what it reads and lists, what was written before. Two proposers may send each other back
to begin again, so they pause for a random time; one that dies stops nobody.
"""

import contextlib
import random
import secrets
import time

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.manifest import Record
from repoloom.store import Store

_PAUSE = 0.1  # seconds at most

Ballot = tuple[int, str]
"""Its number, and whose it is. Ballots are in order, and none is another's."""


class _Vote(Record):
    """What a proposer has written."""

    ballot: Ballot  # which it has begun
    cast: Ballot = (0, "")  # the last for which it gave its value
    value: str


def agree(store: Store, folder: str, value: str) -> str:
    """The value that is agreed on by all who propose one with votes in a folder, which must be kept as long as any may.

    It takes two writes and two lists where nobody else proposes.
    """
    proposer = secrets.token_hex(8)
    own = _Vote(ballot=(0, proposer), value=value)
    while True:
        own = own.model_copy(update={"ballot": (own.ballot[0] + 1, proposer)})
        others = _exchange(store, folder, own)
        if not _overtaken(own, others):
            latest = max((own, *others), key=lambda vote: vote.cast)  # its own, where nobody has cast any
            own = own.model_copy(update={"cast": own.ballot, "value": latest.value})
            others = _exchange(store, folder, own)
            if not _overtaken(own, others):
                return own.value
        own = own.model_copy(update={"ballot": max(vote.ballot for vote in others)})
        time.sleep(random.uniform(0, _PAUSE))


def _overtaken(own: _Vote, others: list[_Vote]) -> bool:
    return any(vote.ballot > own.ballot for vote in others)


def _exchange(store: Store, folder: str, own: _Vote) -> list[_Vote]:
    """Writes a proposer's vote and then reads those of the others."""
    key = f"{folder}/{own.ballot[1]}.json"
    stores.write(store, key, own.model_dump_json().encode())
    others = []
    for other in store.list(folder):
        if other != key:
            with contextlib.suppress(FileNotFoundError, ValidationError):  # removed, or harmed: it says nothing
                others.append(_Vote.model_validate_json(store.read(other)))
    return others
