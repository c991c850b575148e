"""A store's claim: the same for the runs of one recipe, one that never was before when another recipe comes."""

import json
from pathlib import Path

import pytest

from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import RunRecord
from repoloom_pipelines.claim import check_claim, claim
from repoloom_pipelines.data_path import make

_A, _B = (Recipe({"name": name, "crawl": {"sources": [{"kind": "folder", "path": f"/{name}"}]}}) for name in ("a", "b"))


def test_the_runs_of_one_recipe_have_one_claim(tmp_path: Path) -> None:
    first = claim(_A, str(tmp_path))
    assert claim(_A, str(tmp_path)) == first
    check_claim(str(tmp_path), first)


def test_a_claim_never_comes_back_when_another_recipe_was_there_in_between(tmp_path: Path) -> None:
    claims = [claim(recipe, str(tmp_path)) for recipe in (_A, _B, _A, _B, _A)]
    assert len(set(claims)) == len(claims)


def test_what_repoloom_run_made_of_another_recipe_ends_a_claim_too(tmp_path: Path) -> None:
    first = claim(_A, str(tmp_path))
    RunRecord(recipe=_B.model_dump()).write(str(tmp_path))
    assert claim(_A, str(tmp_path)) != first


def test_two_runs_that_begin_at_once_have_one_claim(tmp_path: Path) -> None:
    """Both find none; what each of them writes is the same."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    assert claim(_A, str(tmp_path / "one")) == claim(_A, str(tmp_path / "other"))


def test_who_lost_the_store_is_told(tmp_path: Path) -> None:
    lost = claim(_A, str(tmp_path))
    claim(_B, str(tmp_path))
    with pytest.raises(ConflictError, match="another recipe"):
        check_claim(str(tmp_path), lost)


def test_a_stage_does_nothing_in_a_store_that_was_lost(tmp_path: Path) -> None:
    here = Recipe({"name": "here", "crawl": {"sources": [{"kind": "folder", "path": str(tmp_path)}]}})
    store = tmp_path / "store"
    lost = claim(here, str(store))
    claim(_B, str(store))
    with pytest.raises(ConflictError, match="another recipe"):
        make("crawl", json.dumps(here.model_dump()), str(store), lost, "", workers=1)
    assert {path.name for path in store.iterdir() if not path.name.startswith(".")} == {"claim.json"}
