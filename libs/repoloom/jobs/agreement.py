"""One of the values that are proposed for something, the same for all who ask, whoever dies and whatever comes between.

Disk Paxos (E. Gafni, L. Lamport, Distributed Computing 16, 2003) with the store as its only disk. Each proposer writes
objects of its own and then looks at those of the others, so that no store need refuse a write because another came
first; it must only show, in what it reads and lists, what was written before. No object is written over by another: a
write that is sent again after its answer was lost may come late, and changes nothing. Two proposers may send each other
back to begin again, so they pause for a random time; one that dies stops nobody.
"""

import contextlib
import random
import secrets
import time

from pydantic import ValidationError

from repoloom import store as stores
from repoloom.corpus.manifest import Record
from repoloom.errors import CorruptDataError
from repoloom.store import Store

_PAUSE = 0.1  # seconds at most

Ballot = tuple[int, str]
"""Its number, and whose it is. Ballots are in order, and none is another's."""


class _Vote(Record):
    """What a proposer writes as it begins a ballot, and again as it gives its value."""

    ballot: Ballot  # which it has begun
    cast: Ballot = (0, "")  # the last for which it gave its value
    value: str


def agree(store: Store, folder: str, value: str) -> str:
    """The value that is agreed on by all who propose one with votes in a folder, which must be kept as long as any may.

    It takes two writes and two lists where nobody else proposes. Raises CorruptDataError for a vote that cannot be
    read, since it may be the one that counts.
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
    number, proposer = own.ballot
    phase = "cast" if own.cast == own.ballot else "begun"
    stores.write(store, f"{folder}/{proposer}-{number}-{phase}.json", own.model_dump_json().encode())
    others = []
    for key in store.list(folder):
        if not key.startswith(f"{folder}/{proposer}"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                others.append(_read(store, key))
    return others


def _read(store: Store, key: str) -> _Vote:
    try:
        return _Vote.model_validate_json(store.read(key))
    except ValidationError:
        raise CorruptDataError(
            f"{store.uri}/{key} cannot be read; stop all replicas of the service, remove it, and start them again"
        ) from None
