import copy
from pathlib import Path
from typing import Any

import pytest
from trainings import a_world, admit, finish, phase, settle, suspended
from worlds import IMAGES, World

from repoloom_operator.settings import Settings, TrainingJob


def test_a_training_is_a_masterless_pytorch_job_of_just_as_many_workers(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    settle(world)
    [job] = world.jobs()
    assert job["kind"] == "PyTorchJob"
    assert job["spec"]["pytorchReplicaSpecs"].keys() == {"Worker"}
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    elastic = job["spec"]["elasticPolicy"]
    assert worker["replicas"] == elastic["minReplicas"] == elastic["maxReplicas"] == 2
    assert elastic["rdzvBackend"] == "c10d"
    assert job["spec"]["nprocPerNode"] == "1"
    assert_trains(world, worker["template"], "pytorch")


def test_a_training_is_a_train_job_of_just_as_many_nodes_with_a_runtime_of_its_own(tmp_path: Path) -> None:
    world = a_world(tmp_path, job="TrainJob")
    world.edit("TrainingRun", "t", processesPerWorker=2, activeDeadlineSeconds=60)
    settle(world)
    [job] = world.jobs()
    [runtime] = [found for (kind, _), found in world.objects.items() if kind == "TrainingRuntime"]
    assert job["spec"] == {
        "runtimeRef": {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "TrainingRuntime",
            "name": runtime["metadata"]["name"],
        },
        "trainer": {"numNodes": 2, "numProcPerNode": 2},
        "activeDeadlineSeconds": 60,
        "suspend": False,
    }
    assert runtime["spec"]["mlPolicy"] == {"numNodes": 2, "torch": {}}
    [nodes] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert nodes["name"] == "node"
    assert nodes["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert nodes["template"]["spec"]["backoffLimit"] == 0
    assert_trains(world, nodes["template"]["spec"]["template"], "node")


def assert_trains(world: World, template: dict[str, Any], container: str) -> None:
    """Whether a pod is one of the training."""
    assert template["metadata"]["labels"]["repoloom.dev/name"] == "t"
    assert template["spec"]["shareProcessNamespace"]  # else a pod that is only beginning cannot be asked to stop
    [found] = template["spec"]["containers"]
    assert found["name"] == container
    assert found["command"] == [
        *("torchrun", "--shutdown-timeout", "110"),
        *("--rdzv-conf", "join_timeout=604800,read_timeout=604800,timeout=604800"),
        *("-m", "repoloom", "train", "/recipe/recipe.yaml"),
        *("--store", str(world.folder), "--out", world.objects["TrainingRun", "t"]["spec"]["out"]),
        *("--parallel", "zero1", "--hang-seconds", "1800"),
        *("--keep", "--work", template["metadata"]["labels"]["repoloom.dev/work"]),
    ]


def test_a_queue_admits_a_job_that_begins_suspended(tmp_path: Path) -> None:
    for kind in TrainingJob:
        world = a_world(tmp_path / kind, job=kind, queue="gpus")
        settle(world)
        [job] = world.jobs()
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        world.pods_start()
        settle(world)
        assert world.condition("TrainingRun", "t", "Ready")["reason"] == "Queued"
        admit(job)
        world.pods_start()
        settle(world)
        assert phase(world) == "Running"


def test_a_gang_is_scheduled_as_a_whole(tmp_path: Path) -> None:
    world = a_world(tmp_path / "1", schedulingQueue="gangs")
    settle(world)
    assert world.jobs()[0]["spec"]["runPolicy"]["schedulingPolicy"] == {"minAvailable": 2, "queue": "gangs"}
    world = a_world(tmp_path / "2", job="TrainJob", schedulingQueue="gangs")
    settle(world)
    [runtime] = [found for (kind, _), found in world.objects.items() if kind == "TrainingRuntime"]
    assert runtime["spec"]["podGroupPolicy"] == {"volcano": {}}
    template = runtime["spec"]["template"]
    assert template["metadata"]["annotations"] == {"scheduling.volcano.sh/queue-name": "gangs"}
    [nodes] = template["spec"]["replicatedJobs"]
    assert nodes["template"]["spec"]["template"]["spec"]["schedulerName"] == "volcano"


def test_another_kind_of_job_takes_the_place_of_the_one_that_is_there(world: World) -> None:
    settle(world)
    [other] = set(TrainingJob) - {world.settings.training.job}
    world.pods_start()
    world.settings = Settings.model_validate({"images": IMAGES, "training": {"job": other}})
    settle(world)
    assert world.condition("TrainingRun", "t", "Ready")["reason"] == "Replacing"
    world.pods_end("Failed")
    finish(world)
    assert [job["kind"] for job in world.jobs()] == [other]
    assert phase(world) == "Succeeded"


def test_the_memory_that_ranks_share_is_as_large_as_is_asked_for(tmp_path: Path) -> None:
    world = a_world(tmp_path, sharedMemory="8Gi")
    settle(world)
    [job] = world.jobs()
    spec = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    assert spec["volumes"][-1] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    assert spec["containers"][0]["volumeMounts"][-1] == {"name": "shm", "mountPath": "/dev/shm"}


def test_shared_memory_that_is_mounted_by_hand_is_mounted_once(tmp_path: Path) -> None:
    mine = {"name": "mine", "mountPath": "/dev/shm/"}
    world = a_world(tmp_path, sharedMemory="8Gi", volumeMounts=[mine], volumes=[{"name": "mine", "emptyDir": {}}])
    settle(world)
    spec = world.jobs()[0]["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    assert [mount for mount in spec["containers"][0]["volumeMounts"] if "shm" in mount["mountPath"]] == [mine]
    assert "shm" not in [volume["name"] for volume in spec["volumes"]]


@pytest.mark.parametrize("kind", TrainingJob)
def test_a_job_that_a_queue_holds_back_is_no_failure(tmp_path: Path, kind: TrainingJob) -> None:
    world = a_world(tmp_path, job=kind, queue="gpus")
    settle(world)
    world.advance(10_000)
    settle(world)
    assert world.condition("TrainingRun", "t", "Ready")["reason"] == "Queued"
    assert suspended(world.jobs()[0])


def test_a_job_that_somebody_suspends_goes_on_where_no_queue_has_it(world: World) -> None:
    settle(world)
    [job] = world.jobs()
    others = copy.deepcopy(job["spec"])
    admit(job, suspend=True)
    settle(world)
    assert world.jobs() == [job]
    assert job["spec"] == others


def test_another_image_is_for_the_next_start_alone(world: World) -> None:
    settle(world)
    world.pods_start()
    [job] = world.jobs()
    world.settings = world.settings.model_copy(
        update={"images": world.settings.images.model_copy(update={"training": "training:2"})}
    )
    settle(world)
    assert world.jobs() == [job]
    assert "training:1" in str([job, *world.owned("TrainingRuntime", "t")])
    world.pods_end("Failed")
    settle(world)
    world.advance(60)
    settle(world)
    settle(world)
    assert "training:1" not in str(job := world.jobs())
    assert job
    assert "training:2" in str([*job, *world.owned("TrainingRuntime", "t")])


def test_a_training_that_is_stopped_has_as_long_to_save_as_is_asked_for(tmp_path: Path) -> None:
    world = a_world(tmp_path, graceSeconds=3600)
    settle(world)
    spec = world.jobs()[0]["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 3600
    assert spec["containers"][0]["command"][:3] == ["torchrun", "--shutdown-timeout", "3590"]
