"""One stack for the tests that leave it as it was, and ways to start others."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All parts, one worker, free ports."""
    started = Stack.start(tmp_path_factory.mktemp("stack") / "up")
    try:
        yield started.ready()
    finally:
        started.end()


@pytest.fixture
def start() -> Iterator[Callable[..., Stack]]:
    """Starts stacks; none outlives the test."""
    stacks: list[Stack] = []

    def begin(*arguments: object, **environment: str) -> Stack:
        path, *options = arguments
        assert isinstance(path, Path)
        stacks.append(Stack.start(path, *options, environment=environment))
        return stacks[-1]

    yield begin
    for one in stacks:
        one.kill()
