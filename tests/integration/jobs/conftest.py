"""Replicas of a service in processes of their own, to be killed; and the same work done without any."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import repoloom.stages

_TESTS = Path(__file__).parents[2]
sys.path += [str(_TESTS / "faults"), str(_TESTS / "extra_stages"), str(Path(__file__).parent)]
repoloom.stages.__path__.append(str(_TESTS / "extra_stages" / "stages"))

from replica import Replica  # noqa: E402 - it lies in a folder just added

from repoloom.engine.pool import Limits, LocalPool  # noqa: E402
from repoloom.engine.reconcile import Policy  # noqa: E402
from repoloom.recipe.run import run_stage  # noqa: E402
from repoloom.recipe.sections import section  # noqa: E402

StartReplica = Callable[..., Replica]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the service's datasets lie."""
    return tmp_path / "root"


@pytest.fixture
def replica(root: Path) -> Iterator[StartReplica]:
    """Starts replicas; none outlives the test."""
    replicas = []

    def start(environment: Mapping[str, str] | None = None, **settings: Any) -> Replica:
        replicas.append(Replica({"root": str(root), **settings}, environment))
        return replicas[-1]

    yield start
    for started in replicas:
        started.kill()


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of what a job makes, made by `run_stage` in the test's own process."""
    monkeypatch.setenv("PYTHONPATH", str(_TESTS / "extra_stages"))

    def run(**parameters: Any) -> str:
        checked = section("probe").model_validate(parameters)
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        out = str(tmp_path / "undisturbed")
        with LocalPool(2, Limits()) as pool:
            *_, last = run_stage("probe", values, {}, out, pool, Policy(task_bytes=1))
        return last.digest

    return run
