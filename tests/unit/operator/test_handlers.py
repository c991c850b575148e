"""What the operator has kopf watch."""

import asyncio
from pathlib import Path
from typing import Any

import kopf
import pytest
import releases
import trainings
from urllib3.exceptions import HTTPError
from worlds import NAMESPACE, World, resource

from repoloom_operator.handlers import AT_REST, referrers, register
from repoloom_operator.settings import TrainingJob


@pytest.mark.parametrize(
    ("kind", "plural"), [(TrainingJob.PYTORCH_JOB, "pytorchjobs"), (TrainingJob.TRAIN_JOB, "trainjobs")]
)
def test_of_trainings_only_jobs_of_the_kind_in_use_are_watched_since_a_cluster_may_know_no_other(
    tmp_path: Path, kind: TrainingJob, plural: str
) -> None:
    world = World(tmp_path, training={"job": kind})
    registry = kopf.OperatorRegistry()
    kopf.set_default_registry(registry)
    register(world, world.settings)
    watched = {handler.selector.any_name for handler in registry._watching.get_all_handlers() if handler.selector}
    assert watched == {"corpusbuilds", "trainingruns", "modelreleases", "jobs", plural}


async def happens(world: World, kind: str, body: dict[str, Any]) -> None:
    """An event, and all looks for it."""
    registry = kopf.OperatorRegistry()
    kopf.set_default_registry(registry)
    register(world, world.settings)
    [handler] = [each for each in registry._watching.get_all_handlers() if each.id == kind]
    await handler.fn(body=body)
    while looks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.gather(*looks)


@pytest.mark.parametrize(("kind", "looked_at"), [("CorpusBuild", True), ("Foo", False), ("Job", False)])
def test_a_job_that_is_labelled_as_of_a_kind_that_is_not_ours_has_nothing_looked_at(
    tmp_path: Path, kind: str, looked_at: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = releases.a_world(tmp_path)
    labels = {"repoloom.dev/kind": kind, "repoloom.dev/name": "c"}
    asyncio.run(happens(world, "Job", {"metadata": {"namespace": NAMESPACE, "name": "j", "labels": labels}}))
    assert bool(world.calls) == looked_at
    assert not caplog.messages


def test_what_refers_to_a_changed_resource_is_looked_at_and_what_refers_to_that(tmp_path: Path) -> None:
    world = releases.a_world(tmp_path)
    world.put(resource("TrainingRun", "other", corpusRef={"name": "d"}, out=str(tmp_path / "other")))
    build = ("CorpusBuild", NAMESPACE, "c")
    assert [*referrers(build, world)] == [("TrainingRun", NAMESPACE, "t"), ("ModelRelease", NAMESPACE, "r")]

    asyncio.run(happens(world, "CorpusBuild", world.objects["CorpusBuild", "c"]))
    for kind, name in (("CorpusBuild", "c"), ("TrainingRun", "t"), ("ModelRelease", "r")):
        assert world.objects[kind, name]["metadata"]["finalizers"]
    assert "finalizers" not in world.objects["TrainingRun", "other"]["metadata"]


@pytest.mark.parametrize("phase", ["Released", "Rejected"])
def test_what_is_at_rest_is_looked_at_once_in_a_long_while_since_events_may_be_lost(tmp_path: Path, phase: str) -> None:
    world = releases.a_world(tmp_path)
    if phase == "Rejected":
        releases.gates(world, maxBitsPerByte=1)
    releases.finish(world)
    assert (releases.phase(world), releases.look(world)) == (phase, AT_REST)


def look_fails(world: World, error: type[Exception]) -> None:
    with pytest.raises(error):
        trainings.look(world)


def test_what_a_defect_raises_stands_on_the_resource_until_it_is_mended(tmp_path: Path) -> None:
    world = trainings.a_world(tmp_path)
    trainings.settle(world)
    world.pods_start()
    trainings.look(world)
    before = world.status("TrainingRun", "t")
    world.edit("TrainingRun", "t", hangSeconds=10**18)  # as a definition of old may let it be
    look_fails(world, OverflowError)
    told = world.condition("TrainingRun", "t", "Reconciled")
    assert (told["status"], told["reason"]) == ("False", "InternalError")
    assert told["message"] == "OverflowError; the operator's log tells where"
    status = world.status("TrainingRun", "t")
    assert {**status, "conditions": [each for each in status["conditions"] if each != told]} == before
    writes = world.writes
    look_fails(world, OverflowError)
    assert world.writes == writes  # its own writing would have it looked at anew at once
    world.edit("TrainingRun", "t", hangSeconds=1800)
    trainings.settle(world)
    assert world.condition("TrainingRun", "t", "Reconciled")["status"] == "True"


def test_a_server_that_is_not_reached_is_no_defect(tmp_path: Path) -> None:
    world = trainings.a_world(tmp_path)

    def is_away() -> None:
        raise HTTPError

    world.between = is_away
    look_fails(world, HTTPError)
    assert "conditions" not in world.status("TrainingRun", "t")
