import copy
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from trainings import TRAINED, look, settle, trained
from worlds import World, resource

from repoloom_operator.children import NAME_LABEL


def test_of_two_trainings_of_one_output_the_older_is_first_and_one_at_work_goes_on(world: World) -> None:
    world.advance(1)
    output = world.objects["TrainingRun", "t"]["spec"]["out"]
    world.put(resource("TrainingRun", "a", corpusRef={"name": "c"}, out=output))
    world.settle("TrainingRun", "a")
    assert world.condition("TrainingRun", "a", "Ready")["reason"] == "OutputTaken"
    assert "TrainingRun here/t is older and about to write" in world.condition("TrainingRun", "a", "Ready")["message"]
    assert world.jobs() == []
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    world.settle("TrainingRun", "a")
    world.edit("TrainingRun", "t", suspend=False)
    for name in ("t", "a"):
        world.settle("TrainingRun", name)
    assert [job["metadata"]["name"] for job in world.jobs()] == ["a-train"]
    assert "TrainingRun here/a" in world.condition("TrainingRun", "t", "Ready")["message"]
    world.pods_start()
    trained(world)
    world.pods_end("Succeeded")
    world.settle("TrainingRun", "a")
    settle(world)
    assert [job["metadata"]["name"] for job in world.jobs()] == ["a-train", "t-train"]


@pytest.mark.parametrize(("out", "waits"), [("out/deeper/still", True), ("", True), ("output", False)])
def test_an_output_below_or_above_another_is_taken_with_it(world: World, tmp_path: Path, out: str, waits: bool) -> None:
    settle(world)
    world.advance(1)
    world.put(resource("TrainingRun", "a", corpusRef={"name": "c"}, out=str(tmp_path / out)))
    world.settle("TrainingRun", "a")
    ready = world.condition("TrainingRun", "a", "Ready")
    assert (ready["reason"] == "OutputTaken") is waits
    assert (f"TrainingRun here/t writes to {tmp_path}/out;" in ready["message"]) is waits


def a_younger(world: World) -> None:
    """A second training, of the same output, which is looked at."""
    world.advance(1)
    output = world.objects["TrainingRun", "t"]["spec"]["out"]
    world.put(resource("TrainingRun", "a", corpusRef={"name": "c"}, out=output))
    world.settle("TrainingRun", "a")


def test_an_older_training_of_the_same_output_that_waits_for_another_corpus_is_in_nobodys_way(world: World) -> None:
    world.edit("TrainingRun", "t", corpusRef={"name": "c", "digest": "sha256:former"})
    settle(world)
    a_younger(world)
    assert [job["metadata"]["name"] for job in world.jobs()] == ["a-train"]


@pytest.mark.parametrize("held", ["Preflight", "CreateRefused"])
def test_an_older_training_of_the_same_output_that_cannot_begin_is_in_nobodys_way(world: World, held: str) -> None:
    if held == "Preflight":
        world.put(resource("CorpusBuild", "d", recipe=TRAINED, store=f"{world.folder}/d"))
        world.objects["CorpusBuild", "d"]["status"] = world.status("CorpusBuild", "c")
        world.edit("TrainingRun", "t", corpusRef={"name": "d"})
        settle(world)
        assert world.condition("TrainingRun", "t", "Preflight")["status"] == "False"
    else:
        look(world)
        world.refuses[world.settings.training.job] = ApiException(status=403, reason="quota")
        with pytest.raises(ApiException):
            look(world)
        world.refuses.clear()
    a_younger(world)
    assert [job["metadata"]["name"] for job in world.jobs()] == ["a-train"]


def test_a_training_that_ended_while_nobody_looked_is_recorded_before_another_has_its_output(world: World) -> None:
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    a_younger(world)
    world.pods_start()
    trained(world)
    world.pods_end("Succeeded")
    world.edit("TrainingRun", "t", suspend=False)
    settle(world)
    assert world.condition("TrainingRun", "t", "Ready")["reason"] == "OutputTaken"
    world.settle("TrainingRun", "a")
    settle(world)
    assert world.status("TrainingRun", "a")["weights"] == "w"
    assert [job["metadata"]["name"] for job in world.jobs()] == ["a-train", "t-train"]


def test_a_training_that_has_ended_is_recorded_though_an_older_one_is_at_work_on_its_output(world: World) -> None:
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    a_younger(world)
    other = copy.deepcopy(world.jobs()[0])
    other["metadata"] |= {"name": "t-train", "labels": {**other["metadata"]["labels"], NAME_LABEL: "t"}}
    world.pods_start()
    trained(world)
    world.pods_end("Succeeded")
    world.put(other)
    world.settle("TrainingRun", "a")
    assert world.status("TrainingRun", "a")["weights"] == "w"


def test_a_training_that_has_failed_has_its_output_until_the_last_of_its_pods_has_ended(world: World) -> None:
    world.edit("TrainingRun", "t", maxRestarts=0)
    settle(world)
    world.pods_start()
    pod = world.put({"kind": "Pod", "metadata": {"name": "p", "labels": world.jobs()[0]["metadata"]["labels"]}})
    pod["status"] = {"phase": "Running"}
    world.pods_end("Failed")
    settle(world)
    assert world.status("TrainingRun", "t")["phase"] == "Failed"
    a_younger(world)
    assert world.condition("TrainingRun", "a", "Ready")["reason"] == "OutputTaken"
    pod["status"] = {"phase": "Failed"}
    world.settle("TrainingRun", "a")
    assert [job["metadata"]["name"] for job in world.jobs()] == ["t-train", "a-train"]
