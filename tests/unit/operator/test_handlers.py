"""What the operator has kopf watch."""

from pathlib import Path

import kopf
import pytest
from worlds import World

from repoloom_operator.handlers import register
from repoloom_operator.settings import TrainingJob


@pytest.mark.parametrize(
    ("kind", "plural"), [(TrainingJob.PYTORCH_JOB, "pytorchjobs"), (TrainingJob.TRAIN_JOB, "trainjobs")]
)
def test_of_trainings_only_jobs_of_the_kind_in_use_are_watched_since_a_cluster_may_know_no_other(
    tmp_path: Path, kind: TrainingJob, plural: str
) -> None:
    world = World(tmp_path, training={"job": kind})
    registry = kopf.OperatorRegistry()
    kopf.set_default_registry(registry)
    register(world, world.settings)
    watched = {handler.selector.any_name for handler in registry._watching.get_all_handlers() if handler.selector}
    assert watched == {"corpusbuilds", "trainingruns", "modelreleases", "jobs", plural}
