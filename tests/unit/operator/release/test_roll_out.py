"""A model is served by few first, then by all, or by none."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from releases import (
    canary_is_away,
    canary_pod,
    everywhere,
    finish,
    look,
    measured,
    phase,
    rolling_out,
    serve,
    served,
    settle,
    training_begins_anew,
    training_is_looked_at,
)
from worlds import World, resource


def test_a_model_is_measured_let_through_and_served_by_few_first_then_by_all(world: World) -> None:
    measured(world)
    assert (phase(world), served(world, "web-canary"), served(world, "web")) == ("Canary", "new", "old")
    serve(world)
    settle(world)
    world.advance(59)
    settle(world)
    assert served(world, "web") == "old"
    world.advance(1)
    settle(world)
    assert (phase(world), served(world, "web")) == ("RollingOut", "new")
    serve(world)
    settle(world)
    status = world.status("ModelRelease", "r")
    assert status["phase"] == "Released"
    corpus = world.objects["TrainingRun", "t"]["status"]["corpus"]
    assert status["lineage"] | {"recipe": ""} == {"model": "new", "training": "i", "corpus": corpus, "recipe": ""}
    assert status["model"] == "s3://models/new"
    [container] = world.objects["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "REPOLOOM_MODEL", "value": "s3://models/new"} in container["env"]
    assert status["scores"]["bitsPerByte"] == 2.0


@pytest.mark.parametrize("broken", ["web-canary", "web"])
def test_a_model_that_cannot_be_served_gives_way_to_the_former_everywhere(world: World, broken: str) -> None:
    measured(world)
    for _ in range(5):
        serve(world, broken=(broken,))
        settle(world)
        world.advance(60)
        settle(world)
    assert (phase(world), served(world, "web"), served(world, "web-canary")) == ("RolledBack", "old", "old")


def test_why_a_model_cannot_be_served_is_told_as_its_pod_told_it(world: World) -> None:
    measured(world)
    ended = {"exitCode": 1, "message": '{"message": "Started"}\nerror: these are other weights'}
    waits = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    canary_pod(world, state={"waiting": waits}, lastState={"terminated": ended})
    said = "error: these are other weights (exit code 1)"
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["message"] == said
    serve(world, broken=("web-canary",))
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["message"].splitlines()[1] == said
    assert any(said in message for reason, message in world.events if reason == "RolledBack")


def on_trial(world: World) -> None:
    """The canary serves the model, as it is to for a minute."""
    measured(world)
    serve(world)
    settle(world)
    assert world.condition("ModelRelease", "r", "CanaryHeld")["status"] == "Unknown"


def test_a_canary_that_was_away_for_a_while_is_tried_from_its_beginning(world: World) -> None:
    on_trial(world)
    world.advance(59)
    canary_is_away(world)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    serve(world)
    settle(world)
    world.advance(59)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    world.advance(1)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RollingOut", "new", "new")
    assert world.condition("ModelRelease", "r", "CanaryHeld")["status"] == "True"


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_canary_that_is_away_again_and_again_or_for_good_gives_way_in_the_end(world: World, comes_back: bool) -> None:
    on_trial(world)
    began = world.time
    while phase(world) == "Canary":
        canary_is_away(world)
        settle(world)
        world.advance(30)
        if comes_back:
            serve(world)
        settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")
    assert timedelta(hours=1) < world.time - began < timedelta(hours=1, minutes=4)
    said = "web-canary did not serve the model for 60 s without a break; it goes back to s3://models/old"
    assert world.condition("ModelRelease", "r", "Ready")["message"] == said
    assert world.condition("ModelRelease", "r", "CanaryHeld")["status"] == "False"


def ended(world: World, **how: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": f"{world.time:%FT%TZ}", **how}}


@pytest.mark.parametrize("code", [1, 0])  # the second as it does when it is found not to answer any more
@pytest.mark.parametrize("told", ["state", "lastState"])
def test_a_model_whose_server_ends_once_it_has_served_is_taken_back_though_it_serves_again(
    world: World, code: int, told: str
) -> None:
    on_trial(world)
    world.advance(10)
    canary_pod(world, **{told: ended(world, exitCode=code)})
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


def test_a_server_that_ends_amid_a_break_takes_its_model_back_too(world: World) -> None:
    on_trial(world)
    canary_is_away(world)
    settle(world)
    world.advance(10)
    canary_pod(world, lastState=ended(world))
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


def test_a_server_that_ended_before_it_first_served_takes_no_model_back(world: World) -> None:
    measured(world)
    canary_pod(world, lastState=ended(world))
    world.advance(10)
    serve(world)
    settle(world)
    world.advance(60)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RollingOut", "new", "new")


def drained(pod: dict[str, Any]) -> None:
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def evicted(pod: dict[str, Any]) -> None:
    pod["status"]["phase"] = "Failed"


def of_the_former_model(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["env"][1]["value"] = "old"


def restarted_with_its_node(pod: dict[str, Any]) -> None:
    pod["status"]["containerStatuses"][0]["lastState"]["terminated"] |= {"exitCode": 255, "reason": "Unknown"}


def beside_the_server(pod: dict[str, Any]) -> None:
    pod["status"]["containerStatuses"][0]["name"] = "proxy"


@pytest.mark.parametrize("excuse", [drained, evicted, of_the_former_model, restarted_with_its_node, beside_the_server])
def test_what_ends_through_no_fault_of_the_models_takes_it_not_back(
    world: World, excuse: Callable[[dict[str, Any]], None]
) -> None:
    on_trial(world)
    world.advance(10)
    excuse(canary_pod(world, lastState=ended(world)))
    settle(world)
    world.advance(50)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RollingOut", "new", "new")


def scale(world: World, name: str, replicas: int) -> None:
    world.edit("Deployment", name, replicas=replicas)
    serve(world)
    settle(world)


@pytest.mark.parametrize("canary", [0, 1])
def test_a_deployment_without_replicas_serves_nothing_before_it_is_scaled_up(world: World, canary: int) -> None:
    world.edit("Deployment", "web-canary", replicas=canary)
    world.edit("Deployment", "web", replicas=0)
    finish(world)
    assert (phase(world), served(world, "web")) == ("RollingOut", "new")
    ready = world.condition("ModelRelease", "r", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoReplicas")
    assert ready["message"].startswith("web has no replicas")
    scale(world, "web", 2)
    assert phase(world) == "Released"


def test_a_deployment_without_replicas_that_has_the_model_already_serves_nothing_either(world: World) -> None:
    measured(world)
    tried = copy.deepcopy(world.objects["Deployment", "web-canary"]["spec"])
    world.remove("ModelRelease", "r")
    settle(world)
    world.objects["Deployment", "web"]["spec"] = {**tried, "replicas": 0}
    world.put(resource("ModelRelease", "r", trainingRef={"name": "t"}, deployment="web"))
    scale(world, "web", 0)
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "NoReplicas"
    scale(world, "web", 1)
    assert phase(world) == "Released"


def test_a_canary_that_is_switched_off_while_it_is_tried_lets_no_model_through(world: World) -> None:
    measured(world)
    scale(world, "web-canary", 0)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "NoReplicas"
    scale(world, "web-canary", 1)
    assert world.status("ModelRelease", "r")["canarySince"]
    scale(world, "web-canary", 0)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "NoReplicas"
    world.advance(60)
    scale(world, "web-canary", 1)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    world.advance(60)
    settle(world)
    assert phase(world) == "RollingOut"


def test_what_others_serve_after_a_release_is_left_alone(world: World) -> None:
    finish(world)
    assert phase(world) == "Released"
    [container] = world.objects["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "REPOLOOM_MODEL", "value": "s3://models/newest"}]
    before = world.writes
    settle(world)
    assert world.writes == before


def test_what_is_served_after_a_roll_back_is_left_alone(world: World) -> None:
    measured(world)
    tried = copy.deepcopy(world.objects["Deployment", "web-canary"]["spec"])
    serve(world, broken=("web-canary",))
    settle(world)
    assert (phase(world), served(world, "web-canary")) == ("RolledBack", "old")
    for name in ("web", "web-canary"):
        world.objects["Deployment", name]["spec"] = copy.deepcopy(tried)
    settle(world)
    assert (served(world, "web"), served(world, "web-canary")) == ("new", "new")


def test_what_was_released_is_told_though_its_training_is_gone(world: World) -> None:
    finish(world)
    before = world.status("ModelRelease", "r")
    del world.objects["TrainingRun", "t"]
    settle(world)
    assert world.status("ModelRelease", "r") == before


def test_a_roll_out_goes_on_though_its_training_begins_anew(world: World) -> None:
    rolling_out(world)
    training_begins_anew(world)
    look(world)
    training_is_looked_at(world)
    settle(world)
    serve(world, broken=("web",))
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


def test_a_roll_out_of_a_training_that_is_gone_comes_to_its_end(world: World) -> None:
    rolling_out(world)
    del world.objects["TrainingRun", "t"]
    settle(world)
    serve(world)
    settle(world)
    assert phase(world) == "Released"


def test_a_model_that_was_trained_anew_meanwhile_is_released_after_the_one_that_is_under_way(world: World) -> None:
    rolling_out(world)
    world.objects["TrainingRun", "t"]["status"]["weights"] = "newer"
    serve(world, broken=("web",))
    settle(world)
    assert everywhere(world) == ("old", "old")
    finish(world)
    assert (phase(world), *everywhere(world)) == ("Released", "newer", "newer")
    assert world.status("ModelRelease", "r")["former"]["sha256"] == "old"


def test_another_time_of_the_canary_is_heeded_and_begins_nothing_anew(world: World) -> None:
    measured(world)
    serve(world)
    settle(world)
    world.edit("ModelRelease", "r", canary={"seconds": 90})
    world.advance(60)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Canary", "old", "new")
    world.advance(30)
    settle(world)
    world.edit("ModelRelease", "r", canary={"seconds": 5})
    settle(world)
    serve(world, broken=("web",))
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


def test_an_operator_that_dies_before_it_rolls_back_does_so_whatever_becomes_of_the_training(world: World) -> None:
    measured(world)
    serve(world, broken=("web-canary",))
    world.lives = 1
    look(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "new")
    world.lives = 10**9
    training_begins_anew(world)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


@pytest.mark.parametrize("until", [measured, rolling_out])
def test_a_release_that_is_deleted_on_its_way_leaves_the_former_model(
    world: World, until: Callable[[World], None]
) -> None:
    until(world)
    world.remove("ModelRelease", "r")
    settle(world)
    assert everywhere(world) == ("old", "old")
    assert ("ModelRelease", "r") not in world.objects


def test_a_release_that_is_deleted_after_its_end_changes_nothing(world: World) -> None:
    finish(world)
    world.remove("ModelRelease", "r")
    settle(world)
    assert everywhere(world) == ("new", "new")


def test_a_model_that_is_served_already_is_its_own_former_never(world: World) -> None:
    measured(world)
    tried = copy.deepcopy(world.objects["Deployment", "web-canary"]["spec"])
    world.remove("ModelRelease", "r")
    settle(world)
    for name in ("web", "web-canary"):
        world.objects["Deployment", name]["spec"] = copy.deepcopy(tried)
    world.put(resource("ModelRelease", "r", trainingRef={"name": "t"}, deployment="web"))
    serve(world, broken=("web",))
    settle(world)
    assert phase(world) == "RollingOut"
    serve(world)
    settle(world)
    assert phase(world) == "Released"
    assert "former" not in world.status("ModelRelease", "r")
