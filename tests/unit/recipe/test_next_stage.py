"""A stage by itself goes on from what the run before it made, and from nothing else."""

from pathlib import Path

import pytest

from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Listing, Manifest
from repoloom.engine.pool import LocalPool
from repoloom.errors import ConflictError, CorruptDataError, InputError
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import run_next_stage

_RECIPE = Recipe({"name": "next", "crawl": {"sources": [{"kind": "folder", "path": "/nowhere"}]}})


def _put(store: Path, step: str, inputs: dict[str, str], tables: list[str]) -> str:
    empty = Listing(sha256="0" * 64, parts=0, rows=0, bytes=0)
    manifest = Manifest(
        step=step,
        version=1,
        params={},
        inputs=inputs,
        tables=dict.fromkeys(tables, empty),
        ledger=Ledger(),
        cut={"task_bytes": 1, "tasks": 0},
    )
    (store / step).mkdir(parents=True)
    (store / step / "manifest.json").write_text(manifest.model_dump_json())
    return manifest.digest()


def _run(stage: str, store: Path, given: str) -> None:
    with LocalPool(1, _RECIPE.limits) as pool:
        run_next_stage(stage, _RECIPE, str(store), given, pool)


def test_it_refuses_to_begin_without_what_goes_before(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a dataset"):
        _run("filter", tmp_path, "")


def test_it_refuses_another_dataset_than_it_was_given(tmp_path: Path) -> None:
    _put(tmp_path, "crawl.sources", {}, ["sources"])
    _put(tmp_path, "crawl", {}, ["files"])
    with pytest.raises(ConflictError, match="'filter' was to go on from sha256:other"):
        _run("filter", tmp_path, "sha256:other")


def test_it_refuses_datasets_that_are_not_made_from_each_other(tmp_path: Path) -> None:
    _put(tmp_path, "crawl.sources", {}, ["sources"])
    given = _put(tmp_path, "crawl", {"sources": "sha256:other"}, ["files"])
    with pytest.raises(CorruptDataError, match="made from another 'sources'"):
        _run("filter", tmp_path, given)
