"""An exported model, and a server of it on loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from inference_server import Server, exported, served


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported model that was taught to fill holes in an order that is not the usual one."""
    return exported(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    """One that all tests of a module may use."""
    with served(model) as running:
        yield running


@pytest.fixture
def serve(model: Path) -> Iterator[Callable[..., Server]]:
    """Starts one with settings of the test's own."""
    with ExitStack() as stack:
        yield lambda *arguments, **given: stack.enter_context(served(model, *arguments, **given))
