import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trainings import a_world, finish, happen, look, phase, seen
from worlds import World

from repoloom_operator.settings import TrainingJob

MISHAPS = st.sampled_from(
    [
        "look",
        "pods start",
        "some pods start",
        "pods succeed",
        "pods fail",
        "step",
        "delete job",
        "suspend",
        "resume",
        "time",
        "resize",
        "corpus unseen",
        "corpus seen",
        "edit job",
        "delete files",
        "lose status",
    ]
)


def play(world: World, step: Any) -> None:
    match step:
        case ("dies after", writes):
            world.lives = writes
            look(world)
            world.lives = 10**9
        case ("meanwhile", what):
            world.between = lambda: happen(world, what) if what != "look" else None
            look(world)
            world.between = None
        case str():
            happen(world, step)


STEPS = st.lists(
    st.one_of(MISHAPS, st.tuples(st.just("dies after"), st.integers(0, 3)), st.tuples(st.just("meanwhile"), MISHAPS)),
    max_size=20,
)


@given(st.sampled_from(TrainingJob), STEPS)
def test_whatever_happens_there_are_never_two_jobs_and_no_failure_counts_twice(
    job: TrainingJob, steps: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder), job=job)
        failures = 0
        for step in steps:
            failures += step == "pods fail" or step == "time" or step[1] in ("pods fail", "time")  # each may be one
            play(world, step)
            assert len(world.jobs()) <= 1
            assert world.objects["TrainingRun", "t"].get("status", {}).get("restarts", 0) <= failures
        world.edit("TrainingRun", "t", suspend=False, maxRestarts=1000)
        seen(world)
        finish(world)
        assert phase(world) == "Succeeded"
        before = world.writes
        look(world)
        assert world.writes == before
