"""One small run through the whole path, from folders of the standard library to a model, shared by the tests."""

import pytest
from command import RECIPE, Run, repoloom


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("small")
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE)
    result = repoloom("run", recipe, "--out", folder / "out", "--workers", 2, "--json")
    assert result.code == 0, result.err
    return Run(recipe, folder / "out", result)
