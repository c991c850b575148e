from pathlib import Path

import pytest
from releases import a_world
from worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """In which a trained model is about to be released."""
    return a_world(tmp_path)
