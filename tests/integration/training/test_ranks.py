"""Several ranks train what one process trains, whatever becomes of them on the way."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import numpy as np
import pytest
import run_ranks
import torch
from processes import READY
from safetensors.torch import load_file
from torch import distributed

from repoloom.training.loop import new_model

SCRIPT = Path(run_ranks.__file__)
STAGES = ("zero1", "zero2", "zero3")
SUMMATION = {"rtol": 2e-4, "atol": 2e-5}
"""What the order of float32 sums may change: 2 ranks add up 8 samples as 4 + 4, and DeepSpeed flattens what it adds."""
SOFTWARE = re.compile(r"come to step \d by repoloom \S+, torch \S+, torch's attention, deepspeed \S+ and goes on by")
"""Said once by who goes on without DeepSpeed from what was made with it."""


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


@contextmanager
def forked(ranks: int, target: Callable[..., None], *arguments: object, **environment: str) -> Iterator[list[Process]]:
    """So many ranks, or one process alone, that know each other as those of torchrun do."""
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(ranks)}
    known |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "0", **environment}
    given = [({**known, "RANK": str(rank), "LOCAL_RANK": str(rank)}, *arguments) for rank in range(ranks)]
    processes = [READY.Process(target=target, args=rank) for rank in given]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


class Training:
    """A run at an output, alone or by ranks."""

    def __init__(self, data: Path, out: Path, parallel: str, ranks: int) -> None:
        out.mkdir(exist_ok=True)
        self.out, self._data, self._parallel, self._ranks = out, data, parallel, ranks

    @contextmanager
    def torchrun(self, *options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
        """Ranks that torchrun starts."""
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", self._ranks]
        options = options or ("--standalone",)
        command = [*launcher, "--shutdown-timeout", 5, *options, SCRIPT, self._data, self.out, self._parallel]
        here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent), **environment}
        with subprocess.Popen(list(map(str, command)), env=here, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def begun(self, **environment: str) -> AbstractContextManager[list[Process]]:
        """Its processes, which nothing watches over."""
        return forked(self._ranks, run_ranks.fork, self._data, self.out, self._parallel, **environment)

    def run(self, **environment: str) -> tuple[list[int | None], str]:
        """Exit codes and what was said on stderr."""
        with self.begun(**environment) as processes:
            return self.end(processes)

    def end(self, processes: list[Process]) -> tuple[list[int | None], str]:
        for process in processes:
            process.join()
        said = "".join((self.out / f"said-{rank}").read_text() for rank in range(self._ranks))
        return [process.exitcode for process in processes], said

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
    assert training.run() == ([0], "")
    return training


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Training]:
    """What two ranks make of it that nothing disturbs."""
    made: dict[str, Training] = {}

    def of(stage: str) -> Training:
        if stage not in made:
            training = Training(data, tmp_path_factory.mktemp(stage), stage, 2)
            codes, said = training.run()
            assert codes == [0, 0], said
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


def test_ranks_of_zero3_begin_with_shares_of_a_new_model_that_none_of_them_holds_whole(tmp_path: Path) -> None:
    new = new_model(run_ranks.SEVERAL_LAYERS, run_ranks.TINY.seed).state_dict()
    with forked(4, run_ranks.place, tmp_path, "zero3") as processes:
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4, (tmp_path / "said-0").read_text()
    shared = load_file(tmp_path / "weights")
    assert shared.keys() == new.keys()
    assert all(torch.equal(weight, shared[name]) for name, weight in new.items())
    whole, largest = sum(weight.nbytes for weight in new.values()), max(weight.nbytes for weight in new.values())
    assert whole / 4 + largest < whole / 2
    for rank in range(4):
        assert int((tmp_path / f"held-{rank}").read_text()) <= whole / 4 + largest


def test_where_nothing_is_compiled_no_compiler_is_imported(alone: Training, two: Callable[[str], Training]) -> None:
    for training in (alone, two("zero2")):
        imported = (training.out / "imported").read_text().split()
        assert "torch.optim" in imported
        assert "torch._dynamo" not in imported


def test_a_rank_that_is_killed_leaves_the_weights_of_a_run_that_nothing_disturbed(
    data: Path, two: Callable[[str], Training], tmp_path: Path
) -> None:
    training = Training(data, tmp_path / "out", "zero2", 2)
    with training.torchrun("--standalone", "--max-restarts", "1", PAUSE_AT="4", **OWN_STORES) as torchrun:
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
            machines.enter_context(training.torchrun(*elastic, "--max-restarts", "2", PAUSE_AT="4", **OWN_STORES))
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
    with training.torchrun("--standalone", "--max-restarts", "1") as torchrun:
        _, said = torchrun.communicate()
    assert torchrun.returncode != 0
    assert "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in said
    assert not (training.out / "steps").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_ranks_of_which_one_is_asked_to_stop_save_and_end_alike_and_one_process_goes_on(
    data: Path, alone: Training, tmp_path: Path, stage: str
) -> None:
    training = Training(data, tmp_path / "out", stage, 2)
    with training.torchrun(PAUSE_AT="3") as torchrun:
        training.wait_for_step(3)
        os.kill(training.pid(1), signal.SIGTERM)
        training.go()
        _, said = torchrun.communicate()
        assert torchrun.returncode != 0
    assert said.count("exitcode  : 130") == 2, said
    went_on = Training(data, training.out, "single", 1)
    codes, said = went_on.run()
    assert codes == [0]
    assert SOFTWARE.search(said), said
    assert [step for step, _, _ in went_on.steps()] == [1, 2, 3, 4, 5, 6]
    assert close(went_on, alone)


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_go_on_from_what_one_process_saved(data: Path, alone: Training, tmp_path: Path, stage: str) -> None:
    training = Training(data, tmp_path / "out", "single", 1)
    with training.begun(PAUSE_AT="3") as (process,):
        training.wait_for_step(3)
        process.terminate()
        training.go()
        process.join()
        assert process.exitcode == 130
    went_on = Training(data, training.out, stage, 2)
    codes, said = went_on.run()
    assert codes == [0, 0], said
    assert [step for step, _, _ in went_on.steps()] == [1, 2, 3, 4, 5, 6]
    assert close(went_on, alone)


def test_a_rank_that_would_train_on_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    training = Training(data, tmp_path / "out", "zero1", 2)
    codes, said = training.run(OTHER_DATA="1")
    assert codes == [1, 1]
    assert said.count("rank 1 has another dataset than rank 0, sha256:1 instead of sha256:0") == 2
    assert not (training.out / "steps").exists()


def test_a_rank_that_hangs_ends_the_run_with_an_error(data: Path, tmp_path: Path) -> None:
    training = Training(data, tmp_path / "out", "zero1", 2)
    with training.begun(PAUSE_AT="3", PATIENCE="5") as (main, other):
        training.wait_for_step(3)
        assert other.pid
        os.kill(other.pid, signal.SIGSTOP)
        training.go()
        main.join()
        assert main.exitcode == 1
    said = (training.out / "said-0").read_text()
    assert "rank 0 lost another rank, which died, or did nothing for 5 s" in said


def test_ranks_wait_for_the_main_one_while_its_heart_beats_and_have_what_it_made_or_its_error(tmp_path: Path) -> None:
    with forked(2, run_ranks.ask_main, tmp_path) as processes:
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0], (tmp_path / "said-1").read_text()
        made, failed = processes[0].pid, "CorruptDataError: it is not whole; `repoloom retry` it"
    asked = [(tmp_path / f"asked-{rank}").read_text().splitlines() for rank in range(2)]
    assert asked[0] == [str(made), failed, "KeyError: 'x'"]
    assert asked[1] == [str(made), failed, "UnavailableError: the main rank failed: KeyError('x')"]
