"""The schedule has the paper's stages, and a run's parameters say what they decide."""

import pytest
from pydantic import ValidationError

from repoloom.training.config import TrainParams
from repoloom.training.schedule import learning_rate

BASE = {"warmup_steps": 0, "size": "tiny-1M", "batch_size": 8, "micro_batch_size": 4, "learning_rate": 1e-3}


def test_the_rate_warms_up_linearly_then_falls_twice_by_the_root_of_ten() -> None:
    rates = [learning_rate(step, 1000, 100, 1.0) for step in range(1000)]
    assert rates[:100] == [pytest.approx((step + 1) / 100) for step in range(100)]
    assert set(rates[100:800]) == {1.0}
    assert rates[800:900] == [pytest.approx(0.316, abs=1e-3)] * 100
    assert rates[900:] == [pytest.approx(0.1)] * 100


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_shortest_runs_have_a_rate_for_every_step(steps: int) -> None:
    assert all(learning_rate(step, steps, 0, 1.0) > 0 for step in range(steps))


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
