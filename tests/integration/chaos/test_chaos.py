"""A fleet under hundreds of faults makes, byte for byte, what one machine makes undisturbed, and does nothing twice."""

from pathlib import Path

import pytest
import s3_servers
from calm import problems, undisturbed
from mishaps import Mishap
from storm import storm
from storm_corpus import make_recipe
from wire import ANY, LISTING, OBJECT, UPLOAD, named

SEED = 1
FAULTS, TASKS = 200, 100


@pytest.mark.timeout(900)
def test_two_hundred_faults_cost_time_and_change_nothing(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    expected = undisturbed(tmp_path, recipe)
    came_to = storm(
        tmp_path / "storm",
        recipe,
        SEED,
        s3_servers.kinds()[-1],
        FAULTS,
        800,
        lambda fleet, storm: storm.problems.extend(problems(fleet, storm, expected)),
    )
    assert came_to.problems == []
    assert len(came_to.log) >= FAULTS
    assert len({task for task, _ in came_to.began}) >= TASKS
    assert {kind.value for kind in Mishap} | {named(fault) for fault in ANY | UPLOAD | LISTING | OBJECT} <= set(
        came_to.kinds
    )
    assert len({run.uri for run in came_to.runs}) == len(came_to.jobs) >= 1
