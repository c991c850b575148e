"""An exported model, and a server of it on loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from evaluation.tiny import tiny_model
from inference_server import CONTEXT, TEXT, Server, served

from repoloom.prompts import fim
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.training.export import export


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported model that was taught to fill holes in an order that is not the usual one."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    tokenizer = train_tokenizer(iter([TEXT]), 290).to_str().encode()
    export(tiny_model(reads=CONTEXT, spread=0.3), tokenizer, folder, fim_order=fim.Order.SPM)
    return folder


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
