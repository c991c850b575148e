"""A run whose recipe changes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from probing import committed

from repoloom.engine.pool import Limits, LocalPool
from repoloom.recipe.model import Recipe
from repoloom.recipe.run import RunRecord, run_data_path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., dict[str, str]]]:
    """Runs a recipe up to the filter; returns the digests of what it made, by step."""
    source = tmp_path / "source"
    source.mkdir()
    Path(source, "a.py").write_text("def add(one, other):\n    return one + other\n")

    with LocalPool(1, Limits()) as pool:

        def runs(**changes: Any) -> dict[str, str]:
            recipe = Recipe({"name": "r", "crawl": {"sources": [{"kind": "folder", "path": str(source)}]}, **changes})
            run_data_path(recipe, str(tmp_path / "run"), pool, until="filter")
            return {made.step: made.digest for made in RunRecord.read(str(tmp_path / "run")).made}

        yield runs


def test_a_changed_recipe_keeps_what_the_steps_before_the_change_committed(
    run: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    first, kept = run(), committed(tmp_path)
    assert kept
    other = run(filter={"alphabetic": 0.5})
    assert {step for step in first if first[step] != other[step]} == {"filter"}
    both = committed(tmp_path)
    assert kept.items() < both.items()
    assert run() == first
    assert committed(tmp_path) == both
