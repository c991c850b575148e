from pathlib import Path

import pytest
from trainings import TRAINED, a_world, admit, finish, happen, look, phase, settle, stepped
from worlds import World, resource


def test_failures_are_counted_and_after_too_many_the_last_is_kept(world: World) -> None:
    settle(world)
    for failure in (1, 2, 3):
        world.pods_start()
        world.pods_end("Failed")
        settle(world)
        assert world.status("TrainingRun", "t")["restarts"] == failure
        assert ("WorkerFailed", "it is Failed") in world.events
        if failure <= 2:
            assert world.jobs() == []
            assert world.condition("TrainingRun", "t", "Ready")["reason"] == "Resting"
            world.advance(10 * 2 ** (failure - 1) - 1)
            settle(world)
            assert world.jobs() == []
            world.advance(1)
            settle(world)
            assert len(world.jobs()) == 1
    assert phase(world) == "Failed"
    assert world.condition("TrainingRun", "t", "Ready")["reason"] == "TooManyRestarts"
    assert len(world.jobs()) == 1
    world.edit("TrainingRun", "t", maxRestarts=3)
    finish(world)
    assert phase(world) == "Succeeded"


def a_pod_waits(world: World) -> None:
    labels = world.jobs()[0]["metadata"]["labels"]
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have a GPU"}
    world.put({"kind": "Pod", "metadata": {"name": "p", "labels": labels}, "status": {"conditions": [waits]}})


def test_a_training_of_which_some_pods_find_no_node_makes_room_for_others_longer_each_time_and_has_not_failed(
    world: World,
) -> None:
    world.edit("TrainingRun", "t", hangSeconds=100)
    settle(world)
    a_pod_waits(world)
    rests = []
    for _ in range(3):
        world.pods_start(missing=1)
        settle(world)
        world.advance(100)
        settle(world)
        assert (phase(world), len(world.jobs())) == ("Pending", 1)
        assert world.condition("TrainingRun", "t", "Ready")["message"] == "Unschedulable: 0/3 nodes have a GPU"
        world.advance(1)
        settle(world)
        world.pods_end("Failed")
        given_up = world.time
        while not world.jobs():
            ready = world.condition("TrainingRun", "t", "Ready")
            assert ready["reason"] == "NotScheduled"
            assert ready["message"].startswith("Unschedulable: 0/3 nodes have a GPU\nnot all pods have begun for 101 s")
            world.advance(10)
            settle(world)
        rests.append((world.time - given_up).total_seconds())
    for rest, least in zip(rests, (60, 120, 240), strict=True):
        assert least <= rest <= 2 * least + 10
    world.pods_start()
    settle(world)
    status = world.status("TrainingRun", "t")
    assert (status["phase"], status["restarts"], status["fruitless"]) == ("Running", 0, 0)
    assert "placing" not in status


@pytest.mark.parametrize(("nodes", "workers"), [(4, (4, 4)), (5, (4, 4)), (4, (4, 2))])
def test_of_trainings_that_got_a_part_of_their_pods_each_one_comes_to_run(
    tmp_path: Path, nodes: int, workers: tuple[int, int]
) -> None:
    world = a_world(tmp_path)
    world.put(resource("TrainingRun", "u", corpusRef={"name": "c"}, out=str(tmp_path / "u")))
    wanted, has = dict(zip("tu", workers, strict=True)), dict.fromkeys("tu", 0)
    for name in wanted:
        world.edit("TrainingRun", name, workers=wanted[name], hangSeconds=100)
        world.settle("TrainingRun", name)
    for _ in range(100):
        has = {name: has[name] if world.owned("PyTorchJob", name) else 0 for name in wanted}
        for name in "tu" * nodes:  # the scheduler takes one pod of each in turn
            has[name] += (
                bool(world.owned("PyTorchJob", name)) and has[name] < wanted[name] and sum(has.values()) < nodes
            )
        for name in wanted:
            for job in world.owned("PyTorchJob", name):
                job["status"] = {"replicaStatuses": {"Worker": {"active": has[name]}}}
            world.look("TrainingRun", name)
        if "Running" in [world.status("TrainingRun", name)["phase"] for name in wanted]:
            return
        world.advance(10)
    raise AssertionError("they wait for each other")


def test_a_job_that_a_queue_takes_back_has_its_time_to_find_its_nodes_anew(tmp_path: Path) -> None:
    world = a_world(tmp_path, queue="gpus")
    world.edit("TrainingRun", "t", hangSeconds=100)
    settle(world)
    for suspend in (False, True, False):
        admit(world.jobs()[0], suspend=suspend)
        world.advance(90)
        settle(world)
    assert (phase(world), "tries" in world.status("TrainingRun", "t")["placing"]) == ("Pending", False)


def test_a_training_whose_step_does_not_move_is_begun_anew(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=100)
    settle(world)
    world.pods_start()
    for step in (1, 2, 2):
        stepped(world, step)
        settle(world)
        world.advance(90)
    settle(world)
    assert world.status("TrainingRun", "t")["restarts"] == 1
    assert ("Hung", "step 2 has not moved for 180 s") in world.events
    world.pods_end("Failed")
    world.advance(10)
    settle(world)
    assert world.status("TrainingRun", "t")["restarts"] == 1
    world.pods_start()
    settle(world)
    world.advance(90)
    settle(world)
    assert phase(world) == "Running"


def test_a_training_that_is_long_about_its_first_step_does_not_hang_while_it_gets_on(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=100)
    settle(world)
    world.pods_start()
    for prepared in (0, 1, 7, 8, 8):
        stepped(world, 0, "extend", prepared)
        settle(world)
        assert phase(world) == "Running"
        world.advance(90)
    settle(world)
    assert world.status("TrainingRun", "t")["restarts"] == 1


def test_a_training_that_hangs_too_often_is_given_up_and_nothing_of_it_runs(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=100, maxRestarts=0)
    settle(world)
    world.pods_start()
    settle(world)
    world.advance(101)
    settle(world)
    world.pods_end("Failed")
    world.advance(1000)
    settle(world)
    assert (phase(world), world.jobs()) == ("Failed", [])


def test_a_suspended_training_has_no_job_and_its_end_counts_as_no_failure(world: World) -> None:
    settle(world)
    world.pods_start()
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    world.pods_end("Failed")
    settle(world)
    assert (phase(world), world.jobs()) == ("Suspended", [])
    world.edit("TrainingRun", "t", suspend=False)
    settle(world)
    assert len(world.jobs()) == 1
    assert world.status("TrainingRun", "t")["restarts"] == 0


def test_failures_between_which_the_training_got_further_use_up_no_restarts(world: World) -> None:
    places = [(stage, step) for stage in ("pretrain", "extend") for step in (5, 6, 7)]
    for number, (stage, step) in enumerate(places, start=1):
        fails_at(world, stage, step)
        assert (phase(world), world.status("TrainingRun", "t")["restarts"]) == ("Restarting", number)
    for further in (7, 6):  # no further than before: the first of these was counted already
        assert phase(world) != "Failed"
        fails_at(world, "extend", further)
    assert phase(world) == "Failed"
    assert "failure 3 in a row" in world.condition("TrainingRun", "t", "Ready")["message"]


def test_a_training_that_got_further_than_when_it_failed_does_not_rest_when_its_job_is_gone(world: World) -> None:
    fails_at(world, "pretrain", 5)
    world.advance(10)
    settle(world)
    world.pods_start()
    stepped(world, 6, "pretrain")
    look(world)
    assert world.status("TrainingRun", "t")["fruitless"] == 0
    world.pods_end("Failed")
    happen(world, "delete job")
    settle(world)
    assert len(world.jobs()) == 1


def test_how_far_another_training_came_in_the_same_place_is_not_how_far_this_one_has(world: World) -> None:
    settle(world)
    world.pods_start()
    stepped(world, 9)
    world.edit("TrainingRun", "t", recipe={**TRAINED, "seed": 7})
    settle(world)
    world.pods_start()
    look(world)
    assert "progress" not in world.status("TrainingRun", "t")
    world.pods_end("Failed")
    settle(world)
    for step in (2, 4, 6, 8):
        assert phase(world) != "Failed"
        fails_at(world, "", step)
    assert phase(world) != "Failed"


def fails_at(world: World, stage: str, step: int) -> None:
    world.advance(300)
    settle(world)
    world.pods_start()
    stepped(world, step, stage)
    look(world)
    world.pods_end("Failed")
    look(world)


def test_the_stage_is_told_and_a_step_of_the_next_stage_is_a_move(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=100)
    settle(world)
    world.pods_start()
    for stage in ("pretrain", "extend", "instruct"):
        stepped(world, 2, stage)
        settle(world)
        assert world.status("TrainingRun", "t")["progress"]["stage"] == stage
        world.advance(90)
    assert (phase(world), world.status("TrainingRun", "t")["restarts"]) == ("Running", 0)
    world.advance(90)
    settle(world)
    assert ("Hung", "step 2 of instruct has not moved for 180 s") in world.events
