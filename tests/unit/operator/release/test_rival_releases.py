"""Releases of one Deployment."""

import copy

import pytest
from releases import evaluated, everywhere, finish, look, measured, phase, serve, settle
from worlds import World, resource


def another(world: World) -> None:
    """A second release, of another training's model, by the same Deployments."""
    training = copy.deepcopy(world.objects["TrainingRun", "t"])
    training["metadata"]["name"] = "u"
    training["spec"]["out"] += "-other"
    training["status"]["weights"] = "other"
    world.put(training)
    evaluated(world, training="u")
    world.put(resource("ModelRelease", "s", trainingRef={"name": "u"}, deployment="web", canary={"seconds": 60}))


def both(world: World) -> None:
    for _ in range(4):
        look(world)
        world.look("ModelRelease", "s")


def test_of_two_releases_of_one_deployment_the_second_waits_until_the_first_has_ended(world: World) -> None:
    measured(world)
    another(world)
    both(world)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    assert world.condition("ModelRelease", "s", "Ready")["reason"] == "DeploymentBusy"
    assert "ModelRelease r" in world.condition("ModelRelease", "s", "Ready")["message"]
    for _ in range(8):
        serve(world)
        both(world)
        world.advance(60)
    assert (phase(world, "r"), phase(world, "s"), *everywhere(world)) == ("Released", "Released", "other", "other")
    assert world.status("ModelRelease", "s")["former"]["sha256"] == "new"
    before = world.writes
    both(world)
    assert world.writes == before


def test_a_release_that_is_gone_holds_no_deployment(world: World) -> None:
    measured(world)
    another(world)
    del world.objects["ModelRelease", "r"]
    for _ in range(5):
        world.settle("ModelRelease", "s")
        serve(world)
        world.advance(60)
    assert (phase(world, "s"), *everywhere(world)) == ("Released", "other", "other")


def test_two_releases_that_take_a_deployment_at_once_do_not_both_have_it(world: World) -> None:
    evaluated(world)
    another(world)
    while world.objects["Deployment", "web"]["metadata"].get("annotations") is None:
        before = copy.deepcopy(world.objects)
        world.look("ModelRelease", "s")
    world.objects = before
    look(world)  # its finalizer
    world.between = lambda: world.look("ModelRelease", "s")
    look(world)
    both(world)
    assert [phase(world), phase(world, "s")] == ["Pending", "Canary"]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"repoloom.dev/track": "canary"},
        {"app.kubernetes.io/instance": "web", "repoloom.dev/track": "stable"},
        {"app.kubernetes.io/instance": "web-canary", "repoloom.dev/track": "stable"},
        {"app.kubernetes.io/instance": "web-canary", "repoloom.dev/track": "canary"},
    ],
)
def test_a_deployment_that_is_only_named_like_the_canary_is_left_alone(world: World, labels: dict[str, str]) -> None:
    other = world.objects["Deployment", "web-canary"]
    other["metadata"]["labels"] = labels
    finish(world)
    assert (phase(world), *everywhere(world)) == ("Released", "new", "old")
    assert ("patch", "Deployment") in world.calls
    assert other["metadata"]["generation"] == 1


def test_a_canary_that_names_no_model_is_given_none(world: World) -> None:
    other = world.objects["Deployment", "web-canary"]
    other["spec"]["template"]["spec"]["containers"][0]["env"] = []
    finish(world)
    assert phase(world) == "Released"
    assert other["metadata"]["generation"] == 1


def test_a_release_of_a_canary_is_refused_before_its_model_is_measured(world: World) -> None:
    world.edit("ModelRelease", "r", deployment="web-canary")
    settle(world)
    ready = world.condition("ModelRelease", "r", "Ready")
    assert (phase(world), ready["status"], ready["reason"]) == ("Pending", "False", "DeploymentIsCanary")
    assert ready["message"].startswith("web-canary is a canary; make a ModelRelease of the Deployment")
    assert not world.jobs()
    evaluated(world)
    finish(world)
    assert (phase(world), *everywhere(world)) == ("Pending", "old", "old")
