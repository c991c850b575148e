from pathlib import Path

import pytest
from trainings import a_world
from worlds import World

from repoloom_operator.settings import TrainingJob


@pytest.fixture(params=TrainingJob)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """In which a training's corpus is ready."""
    return a_world(tmp_path, job=request.param)
