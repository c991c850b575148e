"""A worker that could do nothing for a task rests, longer each time, and not for ever."""

from repoloom.engine.queue.health import Health
from repoloom.engine.queue.pace import Pace

PACE = Pace(rest=1, longest_rest=5)


def test_each_rest_is_twice_the_one_before_up_to_a_bound_and_begins_anew_after_a_commit() -> None:
    health, now = Health(PACE), 1000.0
    assert health.is_well(now)
    for rest in (1, 2, 4, 5, 5):
        health.ail(now)
        assert not health.is_well(now + rest - 0.1)
        assert health.is_well(now + rest)
        now += rest
    health.recover()
    health.ail(now)
    assert health.is_well(now + 1)


def test_tasks_that_fail_side_by_side_are_one_illness() -> None:
    health = Health(PACE)
    for _ in range(8):
        health.ail(1000)
    assert health.is_well(1001)


def test_a_task_committed_amid_a_rest_ends_it() -> None:
    health = Health(PACE)
    health.ail(1000)
    health.recover()
    assert health.is_well(1000)
