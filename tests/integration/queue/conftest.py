"""Puts a Redis, workers and the probe stage at the tests' hand."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repoloom.stages

EXTRA_STAGES = Path(__file__).parents[2] / "extra_stages"
if str(EXTRA_STAGES / "stages") not in repoloom.stages.__path__:
    repoloom.stages.__path__.append(str(EXTRA_STAGES / "stages"))
sys.path.append(str(EXTRA_STAGES))

from fleet import BUILD, Fleet, a_fleet  # noqa: E402 - it lies in the folder just added

from repoloom.engine.queue.build import NAME, build  # noqa: E402


@pytest.fixture(autouse=True)
def one_build(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' own process and the workers are of one build."""
    monkeypatch.setenv(NAME, BUILD)
    build.cache_clear()
    yield
    build.cache_clear()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A Redis, and a fleet without workers yet."""
    with a_fleet(tmp_path) as fleet:
        yield fleet
