"""What may happen to a resource, in any order, also amid a look of the operator, which may die of it."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from worlds import World

Happen = Callable[[World, str], None]
"""Has one thing happen; `look` is a look of the operator."""


def steps(mishaps: "st.SearchStrategy[str]", most: int) -> "st.SearchStrategy[list[Any]]":
    """Mishaps one after another, between some of which the operator dies, or looks while they happen."""
    dies = st.tuples(st.just("dies after"), st.integers(0, 3))
    return st.lists(st.one_of(mishaps, dies, st.tuples(st.just("meanwhile"), mishaps)), max_size=most)


def play(world: World, step: Any, happen: Happen) -> None:
    match step:
        case ("dies after", writes):
            world.lives = writes
            happen(world, "look")
            world.lives = 10**9
        case ("meanwhile", what):
            world.between = lambda: happen(world, what) if what != "look" else None
            happen(world, "look")
            world.between = None
        case str():
            happen(world, step)
