import tempfile
from pathlib import Path
from typing import Any

from histories import play, steps
from hypothesis import given
from hypothesis import strategies as st
from trainings import a_world, finish, happen, look, phase, seen

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


STEPS = steps(MISHAPS, 20)


@given(st.sampled_from(TrainingJob), STEPS)
def test_whatever_happens_there_are_never_two_jobs_and_no_failure_counts_twice(
    job: TrainingJob, steps: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder), job=job)
        failures = 0
        for step in steps:
            failures += step == "pods fail" or step == "time" or step[1] in ("pods fail", "time")  # each may be one
            play(world, step, happen)
            assert len(world.jobs()) <= 1
            assert world.objects["TrainingRun", "t"].get("status", {}).get("restarts", 0) <= failures
        world.edit("TrainingRun", "t", suspend=False, maxRestarts=1000)
        seen(world)
        finish(world)
        assert phase(world) == "Succeeded"
        before = world.writes
        look(world)
        assert world.writes == before
