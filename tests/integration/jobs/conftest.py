"""Replicas of a service in processes of their own, to be killed; and the same work done without any."""

import json
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


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica for tests that neither stop it nor set it up. Each has outputs of its own, and ends what it starts."""
    started = Replica({"root": str(tmp_path_factory.mktemp("shared"))})
    yield started
    started.kill()


@pytest.fixture(scope="session")
def _cure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: its path is a parameter, and so in the digest of what they make."""
    return tmp_path_factory.mktemp("cure") / "cure"


@pytest.fixture
def cure(_cure: Path) -> Iterator[Callable[[], None]]:
    """Has tasks that hang end well when they are done anew."""
    yield _cure.touch
    _cure.unlink(missing_ok=True)


@pytest.fixture
def hang(_cure: Path) -> dict[str, object]:
    """Parameters by which one task of eight waits until there is a cure and it is done anew."""
    return {"bad": {"probe/003": "hang"}, "cured_by": str(_cure)}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The digest of what a job makes, made by `run_stage` in the test's own process, once for equal parameters."""
    digests: dict[str, str] = {}

    def run(**parameters: Any) -> str:
        checked = section("probe").model_validate(parameters)
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        with pytest.MonkeyPatch.context() as patch, LocalPool(2, Limits()) as pool:
            patch.setenv("PYTHONPATH", str(_TESTS / "extra_stages"))
            out = str(tmp_path_factory.mktemp("undisturbed"))
            *_, last = run_stage("probe", values, {}, out, pool, Policy(task_bytes=1))
        return last.digest

    def digest(**parameters: Any) -> str:
        asked = json.dumps(parameters, sort_keys=True)
        if asked not in digests:
            digests[asked] = run(**parameters)
        return digests[asked]

    return digest
