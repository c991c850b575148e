from pathlib import Path
from typing import Any

import pytest
from worlds import RECIPE, World, resource

OTHER: dict[str, Any] = {**RECIPE, "seed": 7}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With two builds of one store, the younger of another recipe."""
    world = World(tmp_path)
    world.put(resource("CorpusBuild", "old", recipe=RECIPE, store=str(tmp_path)))
    world.advance(1)
    world.put(resource("CorpusBuild", "a-new", recipe=OTHER, store=f"{tmp_path}/"))
    return world


def settle(world: World) -> None:
    for _ in range(2):
        for name in ("a-new", "old"):
            if ("CorpusBuild", name) in world.objects:
                world.settle("CorpusBuild", name)


def build(world: World, recipe: dict[str, Any]) -> str:
    """The pods that there are do their work, by that recipe."""
    world.pods_start()
    settle(world)
    digest = world.built(recipe)
    world.pods_end("Complete")
    settle(world)
    return digest


def jobs(world: World) -> list[str]:
    return [job["metadata"]["name"] for job in world.jobs()]


def taken(world: World, name: str) -> bool:
    return bool(world.condition("CorpusBuild", name, "Ready")["reason"] == "StoreTaken")


def test_of_two_builds_of_one_store_the_older_has_it_and_the_other_says_so(world: World) -> None:
    settle(world)
    assert jobs(world) == ["old-corpus"]
    digest = build(world, RECIPE)
    assert (world.status("CorpusBuild", "old")["phase"], world.status("CorpusBuild", "old")["digest"]) == (
        "Ready",
        digest,
    )
    ready = world.condition("CorpusBuild", "a-new", "Ready")
    assert (ready["reason"], ready["status"]) == ("StoreTaken", "False")
    assert ready["message"].startswith(f"CorpusBuild here/old builds at {world.folder}, ")
    assert ("StoreTaken", ready["message"]) in world.events


def test_the_younger_begins_when_the_older_and_its_pods_are_gone(world: World) -> None:
    settle(world)
    world.pods_start()
    world.remove("CorpusBuild", "old")
    settle(world)
    assert taken(world, "a-new")
    assert jobs(world) == ["old-corpus"]
    world.pods_end("Failed")
    settle(world)
    assert jobs(world) == ["a-new-corpus"]
    digest = build(world, OTHER)
    assert world.status("CorpusBuild", "a-new")["digest"] == digest


@pytest.mark.parametrize("other", [{"store": "elsewhere"}, {"digest": "sha256:" + 64 * "0"}, {"recipe": {"sede": 7}}])
def test_a_build_that_does_not_write_there_is_in_nobodys_way(world: World, other: dict[str, Any]) -> None:
    world.edit("CorpusBuild", "old", **other)
    settle(world)
    assert "a-new-corpus" in jobs(world)


def test_an_older_build_that_comes_to_a_store_waits_until_nobody_writes_there_and_what_was_built_is_not_believed(
    world: World,
) -> None:
    world.edit("CorpusBuild", "old", store=f"{world.folder}/elsewhere")
    settle(world)
    assert build(world, OTHER) == world.status("CorpusBuild", "a-new")["digest"]
    world.edit("CorpusBuild", "a-new", recipe={**OTHER, "seed": 8})
    settle(world)
    world.pods_start()
    settle(world)
    world.edit("CorpusBuild", "old", store=str(world.folder))
    world.settle("CorpusBuild", "old")
    assert taken(world, "old")
    settle(world)
    assert taken(world, "a-new")
    assert "digest" not in world.status("CorpusBuild", "a-new")
    world.pods_end("Failed")
    settle(world)
    assert "old-corpus" in jobs(world)
    world.remove("CorpusBuild", "old")
    world.pods_end("Complete")
    world.settle("CorpusBuild", "old")
    settle(world)
    assert jobs(world) == ["a-new-corpus"]
