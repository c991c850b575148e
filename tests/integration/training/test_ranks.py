"""Several ranks train what one process trains, whatever becomes of them on the way."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("run_ranks.py")
STAGES = ("zero1", "zero2", "zero3")
SUMMATION = {"rtol": 2e-4, "atol": 2e-5}
"""What the order of float32 sums may change: 2 ranks add up 8 samples as 4 + 4, and DeepSpeed flattens what it adds."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of 13 sequences."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    generator.integers(0, 250, (13, 32)).astype("<u2").tofile(folder / "0.bin")
    np.sort(generator.integers(1, 4, (13, 32)), axis=1).astype("<u2").tofile(folder / "0.idx")
    return folder


OWN_STORES = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Of torchrun: each round of ranks has a store of its own."""


class Training:
    """A run at an output, alone or by ranks."""

    def __init__(self, data: Path, out: Path, parallel: str, ranks: int) -> None:
        out.mkdir(exist_ok=True)
        self.out, self._data, self._parallel, self._ranks = out, data, parallel, ranks

    @contextmanager
    def begun(self, *torchrun: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
        """The process: the training's own, or torchrun with these options more."""
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(self._ranks), "--shutdown-timeout", "5"]
        alone = self._parallel == "single"
        command = [sys.executable, *([] if alone else [*(torchrun or ("--standalone",)), SCRIPT])]
        if not alone:
            command[1:1] = launcher
        else:
            command.append(str(SCRIPT))
        command += [self._data, self.out, self._parallel]
        here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent), **environment}
        with subprocess.Popen(list(map(str, command)), env=here, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *torchrun: str, **environment: str) -> tuple[int, str]:
        """Exit code and what was said on stderr."""
        with self.begun(*torchrun, **environment) as process:
            _, said = process.communicate()
        return process.returncode, said

    def steps(self) -> list[tuple[int, float, float]]:
        lines = (self.out / "steps").read_text().splitlines()
        return [(int(step), float(loss), float(norm)) for step, loss, norm in map(str.split, lines)]

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.out / "weights")

    def pid(self, rank: int) -> int:
        return int((self.out / f"pid-{rank}").read_text())

    def wait_for_step(self, step: int) -> None:
        until(lambda: (self.out / "steps").exists() and step in [done for done, _, _ in self.steps()])

    def go(self) -> None:
        (self.out / "go").touch()


def until(holds: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if holds():
            return
        time.sleep(0.01)
    raise TimeoutError


def close(one: Training, other: Training) -> bool:
    theirs = other.weights()
    return all(torch.allclose(weight, theirs[name], **SUMMATION) for name, weight in one.weights().items())


def equal(one: Training, other: Training) -> bool:
    theirs = other.weights()
    return all(torch.equal(weight, theirs[name]) for name, weight in one.weights().items())


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """What one process makes of it."""
    training = Training(data, tmp_path_factory.mktemp("alone"), "single", 1)
    assert training.run() == (0, "")
    return training


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Training]:
    """What two ranks make of it that nothing disturbs."""
    made: dict[str, Training] = {}

    def of(stage: str) -> Training:
        if stage not in made:
            training = Training(data, tmp_path_factory.mktemp(stage), stage, 2)
            code, said = training.run()
            assert code == 0, said
            made[stage] = training
        return made[stage]

    return of


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_lose_what_one_process_loses(alone: Training, two: Callable[[str], Training], stage: str) -> None:
    ranks = two(stage)
    assert len(ranks.steps()) == 6
    for one, other in zip(alone.steps(), ranks.steps(), strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    assert close(ranks, alone)


def test_where_nothing_is_compiled_no_compiler_is_imported(alone: Training, two: Callable[[str], Training]) -> None:
    for training in (alone, two("zero2")):
        imported = (training.out / "imported").read_text().split()
        assert "torch.optim" in imported
        assert "torch._dynamo" not in imported


def test_a_rank_that_is_killed_leaves_the_weights_of_a_run_that_nothing_disturbed(
    data: Path, two: Callable[[str], Training], tmp_path: Path
) -> None:
    training = Training(data, tmp_path / "out", "zero2", 2)
    with training.begun("--standalone", "--max-restarts", "1", PAUSE_AT="4", **OWN_STORES) as torchrun:
        training.wait_for_step(4)
        os.kill(training.pid(1), signal.SIGKILL)
        training.go()
        _, said = torchrun.communicate()
        assert torchrun.returncode == 0, said
    assert [step for step, _, _ in training.steps()] == [1, 2, 3, 4, 4, 5, 6]
    assert equal(training, two("zero2"))


def test_two_machines_without_a_master_go_on_when_a_rank_of_one_is_killed(
    data: Path, two: Callable[[str], Training], tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    training = Training(data, tmp_path / "out", "zero1", 1)
    elastic = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "1")
    with ExitStack() as machines:
        both = [
            machines.enter_context(training.begun(*elastic, "--max-restarts", "2", PAUSE_AT="4", **OWN_STORES))
            for _ in range(2)
        ]
        training.wait_for_step(4)
        os.kill(training.pid(1), signal.SIGKILL)
        training.go()
        said = [torchrun.communicate()[1] for torchrun in both]
        assert [torchrun.returncode for torchrun in both] == [0, 0], said
    assert equal(training, two("zero1"))


def test_a_torchrun_that_would_have_new_ranks_wait_for_dead_ones_is_refused_before_any_died(
    data: Path, tmp_path: Path
) -> None:
    training = Training(data, tmp_path / "out", "zero1", 2)
    code, said = training.run("--standalone", "--max-restarts", "1")
    assert code != 0
    assert "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in said
    assert not (training.out / "steps").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_ranks_of_which_one_is_asked_to_stop_save_and_end_alike_and_one_process_goes_on(
    data: Path, alone: Training, tmp_path: Path, stage: str
) -> None:
    training = Training(data, tmp_path / "out", stage, 2)
    with training.begun(PAUSE_AT="3") as torchrun:
        training.wait_for_step(3)
        os.kill(training.pid(1), signal.SIGTERM)
        training.go()
        _, said = torchrun.communicate()
        assert torchrun.returncode != 0
    assert said.count("exitcode  : 130") == 2, said
    went_on = Training(data, training.out, "single", 1)
    assert went_on.run() == (0, "")
    assert [step for step, _, _ in went_on.steps()] == [1, 2, 3, 4, 5, 6]
    assert close(went_on, alone)


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_go_on_from_what_one_process_saved(data: Path, alone: Training, tmp_path: Path, stage: str) -> None:
    training = Training(data, tmp_path / "out", "single", 1)
    with training.begun(PAUSE_AT="3") as process:
        training.wait_for_step(3)
        process.send_signal(signal.SIGTERM)
        training.go()
        process.communicate()
        assert process.returncode == 130
    went_on = Training(data, training.out, stage, 2)
    code, said = went_on.run()
    assert code == 0, said
    assert [step for step, _, _ in went_on.steps()] == [1, 2, 3, 4, 5, 6]
    assert close(went_on, alone)


def test_a_rank_that_would_train_on_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    training = Training(data, tmp_path / "out", "zero1", 2)
    code, said = training.run(OTHER_DATA="1")
    assert code != 0
    assert "rank 1 has another dataset than rank 0, sha256:1 instead of sha256:0" in said
    assert not (training.out / "steps").exists()


def test_a_rank_that_hangs_ends_the_run_with_an_error(data: Path, tmp_path: Path) -> None:
    training = Training(data, tmp_path / "out", "zero1", 2)
    with training.begun(PAUSE_AT="3", PATIENCE="5") as torchrun:
        training.wait_for_step(3)
        os.kill(training.pid(1), signal.SIGSTOP)
        training.go()
        _, said = torchrun.communicate()
        assert torchrun.returncode != 0
    assert "rank 0 lost another rank, which died, or did nothing for 5 s" in said
