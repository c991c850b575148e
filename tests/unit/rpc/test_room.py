import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.errors import TooLargeError
from repoloom.rpc.errors import OverloadedError
from repoloom.rpc.room import Room

EVERYONE, EACH = 100, 60


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 70))))
def test_calls_get_what_they_ask_for_until_one_or_all_have_enough(asked: list[tuple[int, int]]) -> None:
    room = Room(EVERYONE, EACH)
    taken = [0, 0, 0, 0]
    with contextlib.ExitStack() as calls:
        shares = [calls.enter_context(room.share()) for _ in taken]
        for call, size in asked:
            if taken[call] + size > EACH:
                refused = pytest.raises(TooLargeError, match="a batch job has no such limit")
            elif sum(taken) + size > EVERYONE:
                refused = pytest.raises(OverloadedError, match="that they may")
            else:
                shares[call].take(size)
                taken[call] += size
                continue
            with refused:
                shares[call].take(size)
    with room.share() as one, room.share() as other:  # all of it is there again
        one.take(EACH)
        other.take(EVERYONE - EACH)


def test_a_call_that_fails_gives_back_what_it_took() -> None:
    room = Room(EVERYONE, EACH)
    for _ in range(3):
        with contextlib.suppress(KeyError), room.share() as share:
            share.take(EACH)
            raise KeyError


def test_what_is_held_less_is_free_for_others() -> None:
    room = Room(EVERYONE, EACH)
    with room.share() as one, room.share() as other:
        one.hold(EACH)
        with pytest.raises(OverloadedError):
            other.hold(EACH)
        one.hold(EVERYONE - EACH)
        other.hold(EACH)
        one.hold(0)
        other.hold(1)
