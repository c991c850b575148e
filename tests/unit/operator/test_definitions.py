"""What the definitions let a resource ask for, the operator can reckon with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import releases
import trainings
from worlds import defined

from repoloom_operator.resources import PLURALS

MOST = 2**31 - 1  # as Kubernetes has it


def integers(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The integer fields of a schema, by their names in it."""
    if schema.get("type") == "integer":
        yield name, schema
    for each, inside in schema.get("properties", {}).items():
        yield from integers(f"{name}.{each}", inside)


SECONDS = [
    pytest.param(schema, id=f"{kind}{name}")
    for kind in PLURALS
    for name, schema in integers("", defined(kind)["spec"])
    if "seconds" in name.lower()
]


def test_there_are_fields_of_seconds() -> None:
    assert len(SECONDS) == 4


@pytest.mark.parametrize("schema", SECONDS)
def test_seconds_are_no_more_than_kubernetes_has_anywhere(schema: Mapping[str, Any]) -> None:
    assert schema["maximum"] == MOST


def test_the_longest_times_are_reckoned_with(tmp_path: Path) -> None:
    training = trainings.a_world(tmp_path / "training")
    longest = dict.fromkeys(("hangSeconds", "activeDeadlineSeconds", "ttlSecondsAfterFinished"), MOST)
    training.edit("TrainingRun", "t", **longest)
    trainings.finish(training)
    assert trainings.phase(training) == "Succeeded"
    assert training.jobs()
    release = releases.a_world(tmp_path / "release")
    release.edit("ModelRelease", "r", canary={"seconds": MOST})
    releases.finish(release)
    assert releases.phase(release) == "Canary"
