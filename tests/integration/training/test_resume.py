"""A run that is killed again and again ends with the very weights of a run that was not."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from repoloom.stages.tokenize.vocabulary import train as train_tokenizer

SCRIPT = Path(__file__).with_name("run_tiny.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of 13 sequences, so that epochs end in the midst of steps, and a tokenizer of 300 tokens at most."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    generator.integers(0, 250, (13, 32)).astype("<u2").tofile(folder / "0.bin")
    np.sort(generator.integers(1, 4, (13, 32)), axis=1).astype("<u2").tofile(folder / "0.idx")
    tokenizer: Tokenizer = train_tokenizer(iter(["def add(a, b):\n    return a + b\n"]), 280)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return folder


def start(data: Path, work: Path) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, data, work / "checkpoints", work / "model"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The weights and the step lines of a run that nothing interrupts."""
    work = tmp_path_factory.mktemp("straight")
    said, _ = start(data, work).communicate()
    return (work / "model" / "model.safetensors").read_bytes(), said.splitlines()


def test_twelve_steps_killed_at_random_moments_equal_twelve_steps_straight(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    weights, steps = uninterrupted
    assert len(steps) == 12
    chance = random.Random(5)
    said: list[str] = []
    for _ in range(4):
        process = start(data, tmp_path)
        assert process.stdout is not None
        lines = chance.randint(1, 3)
        said += [line.rstrip("\n") for line, _ in zip(process.stdout, range(lines), strict=False)]
        # The step's line comes before its checkpoint: the kill falls somewhere in writing, syncing, renaming, or the next step.
        for _ in range(chance.randint(0, 200_000)):
            pass
        process.kill()
        assert process.wait() == -signal.SIGKILL
        said += process.stdout.read().splitlines()
        process.stdout.close()
    rest, _ = start(data, tmp_path).communicate()
    said += rest.splitlines()
    assert said[-1] == steps[-1]
    assert set(said) == set(steps)  # a step that is done again does the same
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_stop_ends_its_step_and_saves_it(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    process = start(data, tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    said = [first, *process.stdout]
    assert process.wait() == 0
    process.stdout.close()
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    assert newest.name == f"step-{len(said):09d}"
    assert not (tmp_path / "model").exists() or len(said) == 12
    if len(said) < 12:
        start(data, tmp_path).communicate()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == uninterrupted[0]
