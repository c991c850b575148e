"""One run of the whole pipeline and one of `repoloom run`, of the same small recipe, shared by the tests."""

import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
sys.path += [str(_HERE), str(_HERE.parents[1] / "faults"), str(_HERE.parents[1] / "extra_stages")]

from pipe import RECIPE, Whole, repoloom  # noqa: E402 - it lies in the folder just added

from repoloom.recipe.model import Recipe  # noqa: E402
from repoloom_pipelines.pipelines import Name  # noqa: E402
from repoloom_pipelines.running import arguments, run_here  # noqa: E402
from repoloom_pipelines.settings import Settings  # noqa: E402


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    chat = path.with_name("chat.jsonl")
    chat.write_text(
        "".join(f'{{"instruction": "Count to {n}.", "output": "for n in range({n}):"}}\n' for n in range(9))
    )
    path.write_text(RECIPE.replace("CHAT", str(chat)))
    return path


@pytest.fixture(scope="session")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    store, root = folder / "store", folder / "artifacts"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_here(Name.WHOLE, Settings(), arguments(Name.WHOLE, Recipe.load(recipe), str(store), 2), root)
    return Whole(recipe, store, root)


@pytest.fixture(scope="session")
def plain(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `repoloom run`."""
    out = tmp_path_factory.mktemp("plain") / "out"
    ended = repoloom("run", recipe, "--out", out, "--workers", 2)
    assert ended.code == 0, ended.err
    return out
