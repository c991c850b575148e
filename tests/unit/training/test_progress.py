"""The record of where a training stands: what it says, how often, and how it ends."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import Queue
from typing import TypeVar

import pytest

from repoloom.errors import InputError
from repoloom.store import open_store
from repoloom.training.loop import StepReport
from repoloom.training.model import Llama
from repoloom.training.parallel import GetsOn, SingleProcess
from repoloom.training.progress import TrainingProgress
from repoloom.training.progress_file import Preparation, ProgressFile, peak_flops
from repoloom.training.sizes import SIZES

T = TypeVar("T")


def report(step: int, steps: int = 100) -> StepReport:
    return StepReport(step, steps, 2.5, 0.01, 1.0, 8 * step, 400.0, 1000 * step)


def read(folder: Path) -> TrainingProgress:
    return TrainingProgress.model_validate(json.loads((folder / "training-progress.json").read_text()))


def file(folder: Path, seconds: int = 1, peak: float | None = None) -> ProgressFile:
    """Of a training whose steps take so many seconds."""
    return ProgressFile(open_store(str(folder)), 100, 16, peak, count(step=seconds).__next__)


def test_it_is_written_at_the_start_every_five_seconds_and_at_the_end(tmp_path: Path) -> None:
    seen = []
    with file(tmp_path, seconds=2) as progress:
        for step in range(1, 10):
            seen.append(read(tmp_path).step)
            progress.step(report(step))
        assert read(tmp_path).state == "running"
    assert seen == [0, 0, 0, 0, 4, 4, 4, 7, 7]
    ended = read(tmp_path)
    assert (ended.state, ended.step, ended.steps, ended.tokens) == ("done", 9, 100, 9 * 8 * 16)


def test_it_tells_speed_what_is_left_and_the_share_of_the_peak(tmp_path: Path) -> None:
    with file(tmp_path, peak=100_000) as progress:  # a step takes a second, in which 8 sequences of 16 are read
        for step in range(1, 11):
            progress.step(report(step))
    told = read(tmp_path)
    assert told == TrainingProgress(
        state="done",
        step=10,
        steps=100,
        tokens=1280,
        loss=2.5,
        learning_rate=0.01,
        tokens_per_second=128,
        seconds_left=90,
        mfu=0.085,  # 7,000 to 10,000 operations a step, of those that were done since the writing before
    )


@pytest.mark.parametrize(("error", "state"), [(InputError, "failed"), (KeyboardInterrupt, "stopped")])
def test_it_tells_how_a_training_ended_that_did_not_finish(
    tmp_path: Path, error: type[BaseException], state: str
) -> None:
    with pytest.raises(error), file(tmp_path):
        raise error
    assert read(tmp_path).state == state


def test_one_that_goes_on_does_not_begin_at_nothing(tmp_path: Path) -> None:
    with file(tmp_path) as progress:
        progress.step(report(30))
        progress.stopped()
    assert read(tmp_path).state == "stopped"
    with file(tmp_path):
        assert (read(tmp_path).state, read(tmp_path).step) == ("running", 30)


def test_a_stage_that_others_follow_does_not_end_the_training(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with ProgressFile(store, 100, 16, None, stage="pretrain", is_last=False) as progress:
        progress.step(report(100))
    assert (read(tmp_path).stage, read(tmp_path).state) == ("pretrain", "running")
    with ProgressFile(store, 100, 16, None, stage="extend"):
        assert (read(tmp_path).stage, read(tmp_path).step) == ("extend", 0)
    assert read(tmp_path).state == "done"


def test_what_comes_before_the_first_step_is_told_every_five_seconds_and_keeps_the_step(tmp_path: Path) -> None:
    store, seen, told = open_store(str(tmp_path)), [], []
    with ProgressFile(store, 100, 16, None, stage="pretrain", is_last=False) as progress:
        progress.step(report(100))

    class Plan(SingleProcess):
        def alone(self, work: Callable[[GetsOn], T]) -> T:
            return work(lambda: told.append(len(seen)))

    def work(gets_on: GetsOn) -> str:
        for _ in range(6):
            gets_on()
            seen.append(read(tmp_path))
        return "made"

    preparation = Preparation(store, Plan(), "extend", count(step=2).__next__)
    assert preparation.alone(work) == "made"
    assert [(at.stage, at.prepared) for at in seen] == [("pretrain", 0)] * 2 + [("extend", 3)] * 3 + [("extend", 6)]
    assert told == [2, 5]
    with ProgressFile(store, 50, 16, None, stage="extend") as progress:
        progress.step(report(30, 50))
    again = Preparation(store, SingleProcess(), "extend", count(step=5).__next__)
    again.gets_on()
    assert (read(tmp_path).state, read(tmp_path).step, read(tmp_path).prepared) == ("running", 30, 1)


def test_ranks_wait_for_the_main_one_as_long_as_it_gets_on_and_have_what_it_made() -> None:
    from repoloom.training.zero import Zero  # with DeepSpeed, which takes seconds

    class Rank(Zero):
        """One that shares with one other by a queue."""

        def __init__(self, rank: int, sent: "Queue[object]") -> None:
            self.is_main, self.waits, self._sent = rank == 0, 0, sent

        def share(self, value: T) -> T:
            if self.is_main:
                self._sent.put(value)
                return value
            self.waits += 1
            return self._sent.get_nowait()  # type: ignore[return-value]

    def work(gets_on: GetsOn) -> None:
        for _ in range(3):
            gets_on()

    sent: Queue[object] = Queue()
    main, other = Rank(0, sent), Rank(1, sent)
    assert main.alone(work) is None
    assert other.alone(lambda _: pytest.fail("another rank works")) is None
    assert (other.waits, sent.empty()) == (4, True)


def test_the_peak_is_that_of_the_gpu_named() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("a processor") is None


def test_a_token_takes_what_its_parameters_and_attention_take() -> None:
    size = SIZES["1.3B"]
    looked_up = 32256 * 2048
    assert size.training_operations(10, 30) == 6 * 10 * (size.parameters - looked_up) + 12 * 30 * 24 * 2048
    tied = SIZES["tiny-1M"]
    assert tied.training_operations(1, 0) == 6 * tied.parameters


@pytest.mark.parametrize("name", SIZES)
def test_the_parameters_of_a_size_are_those_of_its_model(name: str) -> None:
    import torch

    with torch.device("meta"):
        model = Llama(SIZES[name])
    assert SIZES[name].parameters == sum(parameter.numel() for parameter in model.parameters())
