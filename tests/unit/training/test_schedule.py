"""The schedule has the paper's stages, and a run's parameters say what they decide."""

import pytest
from pydantic import ValidationError

from repoloom.training.config import ExtendParams, InstructParams, TrainParams
from repoloom.training.schedule import Schedule, learning_rate
from repoloom.training.sizes import SIZES

BASE = {"warmup_steps": 0, "size": "tiny-1M", "batch_size": 8, "micro_batch_size": 4, "learning_rate": 1e-3}


def test_the_rate_warms_up_linearly_then_falls_twice_by_the_root_of_ten() -> None:
    rates = [learning_rate(step, 1000, 100, 1.0) for step in range(1000)]
    assert rates[:100] == [pytest.approx((step + 1) / 100) for step in range(100)]
    assert set(rates[100:800]) == {1.0}
    assert rates[800:900] == [pytest.approx(0.316, abs=1e-3)] * 100
    assert rates[900:] == [pytest.approx(0.1)] * 100


def test_a_cosine_falls_from_the_peak_towards_nothing() -> None:
    rates = [learning_rate(step, 200, 100, 1.0, Schedule.COSINE) for step in range(200)]
    assert rates[:100] == [pytest.approx((step + 1) / 100) for step in range(100)]
    assert (rates[100], rates[150]) == (1.0, pytest.approx(0.5))
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_shortest_runs_have_a_rate_for_every_step(steps: int, schedule: Schedule) -> None:
    assert all(learning_rate(step, steps, 0, 1.0, schedule) > 0 for step in range(steps))


def test_context_extension_keeps_the_rate_that_pretraining_ended_with() -> None:
    before = TrainParams(**BASE, steps=10)
    params = ExtendParams().goes_on(before, "0" * 64, SIZES["1.3B"])
    assert {params.rate(step, 1000) for step in range(1000)} == {before.rate(9, 10)}
    own = ExtendParams(learning_rate=0.5).goes_on(before, "0" * 64, SIZES["1.3B"])
    assert own.rate(0, 1000) == 0.5


def test_the_defaults_of_the_later_stages_are_the_papers() -> None:
    extended = ExtendParams().goes_on(TrainParams(**BASE, steps=10), "0" * 64, SIZES["6.7B"])
    assert (extended.steps, extended.batch_size, extended.sequence_length) == (1000, 512, 16384)
    shape = extended.architecture(0)  # as the released config.json has it
    assert (shape.rope_theta, shape.rope_linear_factor, shape.max_position_embeddings) == (100_000, 4, 16384)
    tuned = InstructParams(sources=({"path": "a"},), epochs=1).goes_on("0" * 64, shape)
    assert (tuned.learning_rate, tuned.warmup_steps, tuned.schedule) == (1e-5, 100, Schedule.COSINE)
    assert tuned.batch_size * tuned.sequence_length == 4 << 20


def test_epochs_become_whole_steps() -> None:
    assert TrainParams(**BASE, epochs=3).total_steps(sequences=10) == 4
    assert TrainParams(**BASE, steps=5).total_steps(sequences=10) == 5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 1, "epochs": 1}, "either steps or epochs"),
        ({}, "either steps or epochs"),
        ({"steps": 1, "size": "7B"}, "Input should be 'tiny-1M', "),
        ({"steps": 1, "micro_batch_size": 3}, "no multiple"),
        ({"steps": 1, "max_seconds": 3}, "Extra inputs"),
        ({"steps": 100, "warmup_steps": 100}, "leave none of the 100 steps"),
    ],
)
def test_parameters_that_contradict_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainParams.model_validate({**BASE, **wrong})
