"""What is agreed on stays, between whichever of a proposer's requests to the store others propose, and whoever dies."""

import contextlib
import threading
from functools import partial
from pathlib import Path

import pytest
from store_calls import Telling, at
from turns import Turns

from repoloom.errors import CorruptDataError
from repoloom.jobs import agreement
from repoloom.jobs.agreement import agree
from repoloom.store import Store, write
from repoloom.store.folder import FolderStore


class DiedError(BaseException):
    """A proposer is no more."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_PAUSE", 0)


def _events(store: Store, folder: str) -> int:
    """How many requests a proposer makes whom nobody disturbs."""
    made: list[str] = []
    agree(Telling(store, lambda call, key: made.append(f"{call} {key}")), folder, "alone")
    return len(made)


def test_whoever_proposes_between_two_requests_of_another_both_agree(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    events = _events(store, "alone")
    for first in range(1, events + 2):
        for second in range(1, events + 2):
            folder = f"{first}-{second}"
            agreed: list[str] = []

            def propose(value: str, through: Store, folder: str = folder, agreed: list[str] = agreed) -> None:
                agreed.append(agree(through, folder, value))

            between = Telling(store, at(second, partial(propose, "c", store)))
            propose("a", Telling(store, at(first, partial(propose, "b", between))))
            propose("d", store)
            assert len(set(agreed)) == 1, folder


def test_a_proposer_that_dies_stops_nobody_and_changes_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    def die() -> None:
        raise DiedError

    for event in range(1, _events(store, "alone") + 1):
        with contextlib.suppress(DiedError):
            agree(Telling(store, at(event, die)), f"{event}", "died")
        agreed = agree(store, f"{event}", "lives")
        assert agree(store, f"{event}", "late") == agreed


def test_a_write_that_comes_again_late_changes_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for event in range(1, _events(store, "alone") + 1):
        folder, sent = f"{event}", dict[str, bytes]()

        def remember(folder: str = folder, sent: dict[str, bytes] = sent) -> None:
            sent.update((key, store.read(key)) for key in store.list(folder))

        agreed = agree(Telling(store, at(event, remember)), folder, "first")
        for key, content in sent.items():
            write(store, key, content)
        assert agree(store, folder, "second") == agreed


def test_a_vote_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    agree(store, "votes", "first")
    [cast] = (key for key in store.list("votes") if "cast" in key)
    write(store, cast, b"{")
    with pytest.raises(CorruptDataError, match=cast):
        agree(store, "votes", "second")


@pytest.mark.parametrize("seed", range(40))
def test_in_any_order_of_requests_all_agree(tmp_path: Path, seed: int) -> None:
    agreed: list[str] = []
    turns = Turns(3, seed)

    def propose(number: int) -> None:
        with turns.taken_by(number):
            store = Telling(FolderStore(tmp_path), lambda *_: turns.wait(number))
            agreed.append(agree(store, "votes", f"{number}"))

    threads = [threading.Thread(target=propose, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(agreed) == 3
    assert len(set(agreed)) == 1
