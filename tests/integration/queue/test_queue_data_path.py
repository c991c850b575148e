"""The whole data path, from folders to packed sequences: a fleet's bytes are the laptop's bytes."""

from pathlib import Path

from command import RECIPE
from fleet import QUICK, Fleet

from repoloom.engine.pool import Limits, LocalPool
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import run_data_path

LIMITS = Limits(seconds=120, memory_bytes=1 << 30)


def test_the_data_path_over_celery_is_the_data_path_of_one_machine(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    recipe = Recipe.load(path)
    with LocalPool(2, LIMITS) as local:
        alone = run_data_path(recipe, str(tmp_path / "alone"), local)
    fleet.pace = pace = QUICK.model_copy(update={"visibility": 300.0})
    fleet.start(2)
    with fleet.redis.pool(LIMITS, pace) as pool:
        spread = run_data_path(recipe, str(fleet.folder), pool)
    assert {name: made.digest for name, made in spread.items()} == {name: made.digest for name, made in alone.items()}
