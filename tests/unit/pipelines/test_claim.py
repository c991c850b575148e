"""A store's claim: the same for the runs of one recipe, one that never was before when another recipe comes."""

import json
from pathlib import Path

import pytest

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest
from repoloom.errors import ConflictError
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import Made, RunRecord
from repoloom_pipelines.claim import Claimed, check_claim, claim
from repoloom_pipelines.data_path import make

_A, _B = (Recipe({"name": name, "crawl": {"sources": [{"kind": "folder", "path": f"/{name}"}]}}) for name in ("a", "b"))


def made(store: Path, claimed: str, *versions: int) -> str:
    """Has tasks make a dataset each, of those versions, one after the other; returns the claim for those after them."""
    record = RunRecord(recipe=_A.model_dump())
    for step, version in zip(("crawl", "filter", "order"), versions, strict=False):
        cut = Cut(task_bytes=1, tasks=1)
        manifest = Manifest(step=step, version=version, params={}, inputs={}, tables={}, ledger=Ledger(), cut=cut)
        record = record.model_copy(update={"made": (*record.made, Made(step=step, digest=manifest.digest()))})
        record.write(str(store))
        task = Claimed(str(store), claimed)
        task.made(Dataset(str(store / step), manifest))
        claimed = task.told
    return claimed


def test_what_is_made_first_or_as_it_was_leaves_the_claim_as_it_is(tmp_path: Path) -> None:
    first = claim(_A, str(tmp_path))
    assert made(tmp_path, first, 1, 1, 1) == made(tmp_path, first, 1, 1, 1) == claim(_A, str(tmp_path)) == first


def test_what_takes_the_place_of_something_else_has_a_claim_that_never_was(tmp_path: Path) -> None:
    claims = [made(tmp_path, claim(_A, str(tmp_path)), *versions) for versions in ((1, 1), (2, 1), (1, 1), (1, 2))]
    assert len(set(claims)) == len(claims)
    with pytest.raises(ConflictError, match="or of other sources"):
        check_claim(str(tmp_path), claims[0])
    check_claim(str(tmp_path), claims[-1])


def test_a_task_that_is_tried_again_goes_on_by_the_claim_that_its_last_attempt_made(tmp_path: Path) -> None:
    first = claim(_A, str(tmp_path))
    made(tmp_path, first, 1, 1)
    assert made(tmp_path, first, 2) == made(tmp_path, first, 2) != first


def test_a_task_that_made_something_before_another_recipe_came_tells_of_it_no_more(tmp_path: Path) -> None:
    task = Claimed(str(tmp_path), claim(_A, str(tmp_path)))
    claim(_B, str(tmp_path))
    with pytest.raises(ConflictError, match="another recipe"):
        task.check()
    with pytest.raises(ConflictError, match="another recipe"):
        Claimed(str(tmp_path), task.told)


def test_what_is_not_there_any_more_ends_a_claim(tmp_path: Path) -> None:
    first = claim(_A, str(tmp_path))
    made(tmp_path, first, 1, 1)
    (tmp_path / "run.json").unlink()
    assert claim(_A, str(tmp_path)) != first


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
