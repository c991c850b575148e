"""The record of where a training stands: what it says, how often, and how it ends."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from repoloom.errors import InputError
from repoloom.heartbeat import Heartbeat
from repoloom.store import open_store
from repoloom.training.loop import StepReport
from repoloom.training.model import Llama
from repoloom.training.parallel import SingleProcess
from repoloom.training.progress import TrainingProgress
from repoloom.training.progress_file import ProgressFile, peak_flops
from repoloom.training.sizes import SIZES

T = TypeVar("T")


def report(step: int, steps: int = 100) -> StepReport:
    return StepReport(step, steps, 2.5, 0.01, 1.0, 8 * step, 400.0, 1000 * step)


def read(folder: Path) -> TrainingProgress:
    return TrainingProgress.model_validate(json.loads((folder / "training-progress.json").read_text()))


def file(folder: Path, seconds: int = 1, **options: Any) -> ProgressFile:
    """Of a stage whose steps, or pieces of its preparation, take so many seconds."""
    clock = count(step=seconds).__next__
    return ProgressFile(open_store(str(folder)), SingleProcess(), "pretrain", clock=clock, **options)


@contextmanager
def training(
    folder: Path, seconds: int = 1, peak: float | None = None, run: str = "r", **options: Any
) -> Iterator[ProgressFile]:
    """One of 100 steps that has been prepared."""
    with file(folder, seconds, **options) as progress:
        progress.identify(run)
        progress.begin(100, 16, peak)
        yield progress


def test_it_is_written_at_the_start_every_five_seconds_and_at_the_end(tmp_path: Path) -> None:
    seen = []
    with training(tmp_path, seconds=2) as progress:
        for step in range(1, 10):
            seen.append(read(tmp_path).step)
            progress.step(report(step))
        assert read(tmp_path).state == "running"
    assert seen == [0, 0, 0, 0, 4, 4, 4, 7, 7]
    ended = read(tmp_path)
    assert (ended.state, ended.step, ended.steps, ended.tokens) == ("done", 9, 100, 9 * 8 * 16)


def test_it_tells_speed_what_is_left_and_the_share_of_the_peak(tmp_path: Path) -> None:
    with training(tmp_path, peak=100_000) as progress:  # a step takes a second, in which 8 sequences of 16 are read
        for step in range(1, 11):
            progress.step(report(step))
    told = read(tmp_path)
    assert told == TrainingProgress(
        state="done",
        stage="pretrain",
        run="r",
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
    with pytest.raises(error), training(tmp_path):
        raise error
    assert read(tmp_path).state == state


def test_it_tells_that_what_comes_before_the_first_step_failed(tmp_path: Path) -> None:
    progress = file(tmp_path, seconds=5)

    def fail() -> None:
        progress.heartbeat()
        assert (read(tmp_path).state, read(tmp_path).prepared) == ("running", 1)
        raise InputError

    with pytest.raises(InputError), progress:
        fail()
    assert (read(tmp_path).state, read(tmp_path).prepared) == ("failed", 1)


@pytest.mark.parametrize(("run", "step"), [("r", 30), ("another", 0)])
def test_one_that_goes_on_does_not_begin_at_nothing_and_another_does(tmp_path: Path, run: str, step: int) -> None:
    with training(tmp_path) as progress:
        progress.step(report(30))
        progress.stopped()
    assert read(tmp_path).state == "stopped"
    with file(tmp_path, seconds=5) as progress:
        progress.identify(run)
        progress.heartbeat()
        assert (read(tmp_path).state, read(tmp_path).step, read(tmp_path).prepared) == ("running", step, 1)
        progress.begin(100, 16, None)
        assert (read(tmp_path).run, read(tmp_path).step) == (run, step)


def test_a_stage_that_others_follow_does_not_end_the_training(tmp_path: Path) -> None:
    with training(tmp_path, is_last=False) as progress:
        progress.step(report(100))
    assert (read(tmp_path).step, read(tmp_path).state) == (100, "running")
    with training(tmp_path, run="next"):
        assert read(tmp_path).step == 0
    assert read(tmp_path).state == "done"


def test_a_stage_that_was_done_long_since_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    with training(tmp_path) as progress:
        progress.step(report(100))
    done = read(tmp_path)
    with file(tmp_path, seconds=5, work="again") as progress:
        progress.heartbeat()
        assert read(tmp_path).state == "running"
        progress.restore()
    assert read(tmp_path) == done.model_copy(update={"work": "again"})


def test_it_is_told_by_the_name_that_whoever_began_it_last_gave_it(tmp_path: Path) -> None:
    with training(tmp_path, work="first") as progress:
        progress.step(report(30))
    with training(tmp_path, work="second") as progress:
        assert (read(tmp_path).step, read(tmp_path).work) == (30, "second")
        progress.step(report(31))
    assert read(tmp_path).work == "second"


def test_that_a_work_gets_on_is_told_every_five_seconds_to_ranks_and_in_the_record(tmp_path: Path) -> None:
    prepared, told = [], []

    class Plan(SingleProcess):
        def on_main(self, work: Callable[[Heartbeat], T]) -> T:
            return work(lambda: told.append(len(prepared)))

    def work(heartbeat: Heartbeat) -> str:
        for _ in range(6):
            heartbeat()
            prepared.append(read(tmp_path).prepared)
        return "made"

    with training(tmp_path):
        pass
    clock = count(step=2).__next__
    with ProgressFile(open_store(str(tmp_path)), Plan(), "extend", clock=clock) as progress:
        assert progress.on_main(work) == "made"
    assert prepared == [0, 0, 3, 3, 3, 6]
    assert told == [2, 5]


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
