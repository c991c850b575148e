"""What others do to a release, and an operator that dies of it."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from releases import (
    FORMER,
    a_world,
    canary_is_away,
    evaluated,
    everywhere,
    finish,
    gates,
    look,
    measured,
    phase,
    serve,
    served,
    settle,
    training_begins_anew,
    training_is_looked_at,
)
from worlds import World

from repoloom_operator.deployments import HOLDER


def test_a_canary_that_others_changed_is_tried_from_its_beginning(world: World) -> None:
    measured(world)
    serve(world)
    settle(world)
    world.advance(59)
    others_take_back(world)
    look(world)
    serve(world)
    world.advance(1)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    world.advance(60)
    settle(world)
    assert phase(world) == "RollingOut"


def others_take_back(world: World) -> None:
    """Somebody has the former model served, while another is rolled out."""
    if world.status("ModelRelease", "r").get("phase") in ("Canary", "RollingOut"):
        for name in ("web", "web-canary"):
            template = copy.deepcopy(world.objects["Deployment", name]["spec"]["template"])
            template["spec"]["containers"][0]["env"] = [{"name": key, "value": FORMER[key]} for key in FORMER]
            world.edit("Deployment", name, template=template)


def others_scale(world: World) -> None:
    world.edit("Deployment", "web", replicas=3 - world.objects["Deployment", "web"]["spec"]["replicas"])


def others_switch_off(world: World) -> None:
    world.edit("Deployment", "web", replicas=0)


def delete_files(world: World) -> None:
    for file in world.owned("ConfigMap", "r"):
        world.remove("ConfigMap", file["metadata"]["name"])


HAPPENINGS: dict[str, Callable[[World], object]] = {
    "look": look,
    "serve": serve,
    "break": lambda world: serve(world, broken=("web", "web-canary")),
    "canary is away": canary_is_away,
    "time": lambda world: world.advance(100),
    "measured": lambda world: (world.pods_start(), evaluated(world), world.pods_end("Complete")),
    "delete job": lambda world: [world.remove(job["kind"], job["metadata"]["name"]) for job in world.jobs()],
    "delete files": delete_files,
    "others take back": others_take_back,
    "others scale": others_scale,
    "others switch off": others_switch_off,
    "training begins anew": training_begins_anew,
    "training is looked at": training_is_looked_at,
    "another time": lambda world: world.edit("ModelRelease", "r", canary={"seconds": 70}),
    "other gates": lambda world: gates(world, maxBitsPerByte=3),
}


@given(st.lists(st.sampled_from([0, 1, 2, *HAPPENINGS]), max_size=25))
def test_however_often_the_operator_dies_the_model_is_served_by_all_or_none(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder))
        for step in steps:
            before = world.status("ModelRelease", "r").get("phase")
            if isinstance(step, int):
                world.lives = step
                look(world)
                world.lives = 10**9
            else:
                HAPPENINGS[step](world)
            assert len(world.jobs()) <= 1
            status = world.status("ModelRelease", "r")
            if status.get("phase") == "Released" != before:
                assert world.objects["Deployment", "web"]["status"]["availableReplicas"] > 0
            if served(world, "web") == "new":  # nobody is served by what no canary has tried
                assert status["canarySince"]
            if "new" in everywhere(world):  # and the way back is known
                assert status["former"] == {"uri": FORMER["REPOLOOM_MODEL"], "sha256": "old"}
        training_is_looked_at(world)
        world.edit("Deployment", "web", replicas=1)
        finish(world)
        assert phase(world) in ("Released", "RolledBack")
        assert set(everywhere(world)) == {"new" if phase(world) == "Released" else "old"}
        assert HOLDER not in world.objects["Deployment", "web"]["metadata"].get("annotations", {})
