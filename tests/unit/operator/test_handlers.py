"""What the operator has kopf watch."""

import asyncio
from pathlib import Path

import kopf
import pytest
import releases
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


def test_what_refers_to_a_changed_resource_is_looked_at_and_what_refers_to_that(tmp_path: Path) -> None:
    world = releases.a_world(tmp_path)
    world.put(resource("TrainingRun", "other", corpusRef={"name": "d"}, out=str(tmp_path / "other")))
    build = ("CorpusBuild", NAMESPACE, "c")
    assert [*referrers(build, world)] == [("TrainingRun", NAMESPACE, "t"), ("ModelRelease", NAMESPACE, "r")]

    async def happens() -> None:
        registry = kopf.OperatorRegistry()
        kopf.set_default_registry(registry)
        register(world, world.settings)
        [handler] = [each for each in registry._watching.get_all_handlers() if each.id == "CorpusBuild"]
        await handler.fn(body=world.objects["CorpusBuild", "c"])
        while looks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*looks)

    asyncio.run(happens())
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
