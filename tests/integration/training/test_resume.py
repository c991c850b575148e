"""A run that is killed again and again ends with the very weights of a run that was not."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from repoloom.stages.tokenize.vocabulary import train as train_tokenizer

SCRIPT = Path(__file__).with_name("run_tiny.py")


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


def start(data: Path, work: Path) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, data, work / "checkpoints", work / "model"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def advance(process: subprocess.Popen[str], said: list[str]) -> None:
    """Reads what the run says of a step, and lets it go on to save it."""
    assert process.stdin is not None
    assert process.stdout is not None
    said.append(process.stdout.readline())
    process.stdin.write("\n")


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The weights and the step lines of a run that nothing interrupts."""
    work = tmp_path_factory.mktemp("straight")
    with start(data, work) as process:
        said, _ = process.communicate()
    return (work / "model" / "model.safetensors").read_bytes(), said.splitlines(keepends=True)


def test_twelve_steps_killed_at_random_moments_equal_twelve_steps_straight(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    weights, steps = uninterrupted
    assert len(steps) == 12
    chance = random.Random(5)
    said: list[str] = []
    for _ in range(3):
        with start(data, tmp_path) as process:
            for _ in range(chance.randint(1, 2)):
                advance(process, said)
            # What it does now is write, sync and rename the checkpoint, then the next step: somewhere there it dies.
            moment = time.perf_counter() + chance.random() * 0.03
            while time.perf_counter() < moment:
                pass
            process.kill()
            assert process.wait() == -signal.SIGKILL
    with start(data, tmp_path) as process:
        said += process.communicate()[0].splitlines(keepends=True)
    assert said[-1] == steps[-1]
    assert set(said) <= set(steps)  # a step that is done again does the same
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_stop_ends_its_step_and_saves_it(
    data: Path, uninterrupted: tuple[bytes, list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    said: list[str] = []
    with start(data, tmp_path) as process:
        advance(process, said)
        assert process.stdout is not None
        said.append(process.stdout.readline())
        process.send_signal(number)
        assert process.communicate() == ("", None)
        assert process.returncode == 0
    assert max((tmp_path / "checkpoints/train").glob("step-*.json")).name == "step-000000002.progress.json"
    assert not (tmp_path / "model").exists()
    with start(data, tmp_path) as process:
        process.communicate()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == uninterrupted[0]
