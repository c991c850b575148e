"""A run that is killed again and again ends with the very weights of a run that was not."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from processes import READY
from run_tiny import main
from tokenizers import Tokenizer

from repoloom.stages.tokenize.vocabulary import train as train_tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of 13 sequences, so that epochs end in the midst of steps, and a tokenizer."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    generator.integers(0, 250, (13, 32)).astype("<u2").tofile(folder / "0.bin")
    np.sort(generator.integers(1, 4, (13, 32)), axis=1).astype("<u2").tofile(folder / "0.idx")
    tokenizer: Tokenizer = train_tokenizer(iter(["def add(a, b):\n    return a + b\n"]), 280)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return folder


class Run:
    """A run in a process of its own, which goes on from what lies in a folder."""

    def __init__(self, data: Path, work: Path) -> None:
        self._listener, theirs = READY.Pipe()
        arguments = (data, work / "checkpoints", work / "model", theirs)
        self.process = READY.Process(target=main, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def next(self) -> str:
        """What it says of a step. Raises EOFError where it has ended."""
        return str(self._listener.recv())

    def go_on(self) -> None:
        self._listener.send(None)

    def end(self) -> list[str]:
        """Lets it go on to its end; returns what it says of its steps."""
        said = []
        with contextlib.suppress(EOFError):
            while True:
                said.append(self.next())
                self.go_on()
        self.process.join()
        return said


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The weights of a run that nothing interrupts, and what it said."""
    work = tmp_path_factory.mktemp("straight")
    said = Run(data, work).end()
    return (work / "model" / "model.safetensors").read_bytes(), said


def test_twelve_steps_killed_at_random_moments_equal_twelve_steps_straight(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    weights, steps = uninterrupted
    assert len(steps) == 12
    chance = random.Random(5)
    said: list[str] = []
    for _ in range(5):
        run = Run(data, tmp_path)
        for _ in range(chance.randint(1, 2)):
            said.append(run.next())
            run.go_on()
        # What it does now is write, sync and rename the checkpoint, then the next step: somewhere there it dies.
        moment = time.perf_counter() + chance.random() * 0.03
        while time.perf_counter() < moment:
            pass
        run.process.kill()
        run.process.join()
        assert run.process.exitcode == -signal.SIGKILL
    said += Run(data, tmp_path).end()
    assert said[-1] == steps[-1]
    assert set(said) <= set(steps)  # a step that is done again does the same
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_stop_ends_its_step_and_saves_it(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    run = Run(data, tmp_path)
    run.next()
    run.go_on()
    run.next()
    assert run.process.pid
    os.kill(run.process.pid, number)
    run.go_on()
    assert run.end() == []
    assert run.process.exitcode == 0
    assert max((tmp_path / "checkpoints/train").glob("step-*.json")).name == "step-000000002.progress.json"
    assert not (tmp_path / "model").exists()
    Run(data, tmp_path).end()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == uninterrupted[0]
