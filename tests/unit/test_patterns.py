"""Regular expressions find the same in every release of Python that repoloom runs with.

Releases before 3.11.5, Debian 12's 3.11.2 among them, go on in the wrong place after a possessive group: where the
attempt that failed had come to, if a lookaround, a group or a repeat had moved there, and not where it had begun
(https://github.com/python/cpython/issues/106052). A group that fails before any of these moves is safe.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import repoloom.corpus
import repoloom.stages

SINGLE = {ops.LITERAL, ops.NOT_LITERAL, ops.IN, ops.ANY, ops.AT}
REPEATS = {ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT}


def is_single(items: Any) -> bool:
    return len(items) == 1 and items[0][0] in SINGLE


def fails_in_place(items: Any) -> bool:
    """Whether a sequence can fail only where no part of it has moved the matcher's own position."""
    for number, (op, argument) in enumerate(items):
        if op in SINGLE:
            continue
        if number != len(items) - 1:
            return False
        if op in REPEATS:
            return is_single(argument[2]) and (number == 0 or argument[0] == 0)
        if op is ops.BRANCH:
            return number == 0 and all(map(fails_in_place, argument[1]))
        return op is ops.SUBPATTERN and argument[0] is None and number == 0 and fails_in_place(argument[-1])
    return True


def unsafe(items: Any) -> Iterator[Any]:
    """The possessive groups of a pattern that are not safe."""
    for op, argument in items:
        if op is ops.POSSESSIVE_REPEAT and not is_single(argument[2]) and not fails_in_place(argument[2]):
            yield argument[2]
        if op is ops.ATOMIC_GROUP:
            yield argument
        elif op is ops.BRANCH:
            for branch in argument[1]:
                yield from unsafe(branch)
        elif op is ops.SUBPATTERN:
            yield from unsafe(argument[-1])
        elif op in REPEATS:
            yield from unsafe(argument[2])
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            yield from unsafe(argument[1])


def compiled(value: object, depth: int = 4) -> Iterator[re.Pattern[Any]]:
    """The patterns in a value, however it holds them."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        for key, inner in value.items():
            yield from compiled(key, depth - 1)
            yield from compiled(inner, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from compiled(inner, depth - 1)
    elif depth and hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from compiled(getattr(value, name, None), depth - 1)


@pytest.mark.parametrize(
    ("pattern", "safe"),
    [
        (rb"(?:[^*]++|\*(?!/))*+", False),  # a lookahead after what was taken
        (rb"(?:\.\w++)*+", False),  # a repeat that wants one, after what was taken
        (rb"(?P<dots>\.[. ]*+)?+", False),
        (rb"(?>a|b)", False),
        (rb'(?:[^"\\]++|\\.)*+', True),
        (rb"(?:[^()#]++|#[^\n]*+)*+", True),
        (rb"(?:\.\w++)*", True),
    ],
)
def test_what_is_safe(pattern: bytes, safe: bool) -> None:
    assert (not list(unsafe(parser.parse(pattern)))) is safe


def test_every_pattern_that_reads_files_finds_the_same_in_every_release_of_python() -> None:
    found = {}
    for package in (repoloom.stages, repoloom.corpus):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                found |= {(pattern.pattern, pattern.flags): f"{module.name}.{name}" for pattern in compiled(value)}
    assert len(found) > 100
    assert not [where for (pattern, flags), where in found.items() if list(unsafe(parser.parse(pattern, flags)))]
