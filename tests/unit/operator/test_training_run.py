import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException
from worlds import IMAGES, RECIPE, World, resource

from repoloom import store as stores
from repoloom.corpus.manifest import Quarantined
from repoloom.recipe.results import TRAINING, Trained
from repoloom.recipe.run import RunRecord
from repoloom.store import open_store
from repoloom.training.progress import PROGRESS, RunState, TrainingProgress
from repoloom_operator import kept
from repoloom_operator.children import NAME_LABEL
from repoloom_operator.handlers import AT_REST
from repoloom_operator.kept import PROBE
from repoloom_operator.recipes import check
from repoloom_operator.resources import camel
from repoloom_operator.settings import Settings, TrainingJob

DEFINITION = Path(__file__).parents[3] / "charts/repoloom/templates/crds/trainingruns.yaml"

TRAINED: dict[str, Any] = {
    **RECIPE,
    "train": {"size": "1.3B", "batch_size": 32, "micro_batch_size": 8, "steps": 3000, "learning_rate": 0.001},
}


@pytest.fixture(params=TrainingJob)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return a_world(tmp_path, job=request.param)


def a_world(folder: Path, **training: Any) -> World:
    """A world in which the corpus is ready."""
    world = World(folder / "corpus", training=training)
    world.put(resource("CorpusBuild", "c", recipe=TRAINED, store=str(world.folder)))
    digest = world.built(TRAINED)
    ready = {"type": "Ready", "status": "True"}
    world.objects["CorpusBuild", "c"]["status"] = {
        "phase": "Ready",
        "digest": digest,
        "observedGeneration": 1,
        "conditions": [ready],
    }
    world.put(resource("TrainingRun", "t", corpusRef={"name": "c"}, out=str(folder / "out"), workers=2, maxRestarts=2))
    return world


def look(world: World) -> float | None:
    return world.look("TrainingRun", "t")


def settle(world: World) -> None:
    world.settle("TrainingRun", "t")


def out(world: World) -> stores.Store:
    return open_store(str(world.objects["TrainingRun", "t"]["spec"]["out"]))


def stepped(world: World, step: int, stage: str = "", prepared: int = 0) -> None:
    progress = TrainingProgress(
        state=RunState.RUNNING,
        stage=stage,
        step=step,
        steps=9,
        prepared=prepared,
        tokens=step,
        loss=2.5,
        learning_rate=0.1,
        tokens_per_second=7,
        seconds_left=1,
    )
    stores.write(out(world), PROGRESS, progress.model_dump_json().encode())


def trained(world: World) -> None:
    packed = world.objects["CorpusBuild", "c"]["status"]["digest"]
    record = Trained(
        identity="i", packed=packed, weights="w", parameters=1, unigram_loss=3, final_loss=2.5, steps=9, seconds=1
    )
    stores.write(out(world), TRAINING, record.model_dump_json().encode())


def finish(world: World) -> None:
    for _ in range(4):
        world.advance(1800)
        settle(world)
        world.pods_start()
        trained(world)
        world.pods_end("Succeeded")
    settle(world)


def phase(world: World) -> str:
    return str(world.status("TrainingRun", "t")["phase"])


def test_a_training_waits_for_its_corpus(world: World) -> None:
    ready = world.objects["CorpusBuild", "c"].pop("status")
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.condition("TrainingRun", "t", "CorpusReady")["reason"] == "CorpusNotReady"
    world.objects["CorpusBuild", "c"]["status"] = ready
    settle(world)
    assert len(world.jobs()) == 1


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


def suspended(job: dict[str, Any]) -> bool:
    return bool(job["spec"].get("runPolicy", job["spec"])["suspend"])


def admit(job: dict[str, Any], suspend: bool = False) -> None:
    job["spec"].get("runPolicy", job["spec"])["suspend"] = suspend


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


def test_progress_and_the_model_are_told(world: World) -> None:
    settle(world)
    world.pods_start()
    stepped(world, 3)
    look(world)
    progress = world.status("TrainingRun", "t")["progress"]
    assert (phase(world), progress["step"], progress["tokensPerSecond"]) == ("Running", 3, 7)
    assert world.status("TrainingRun", "t")["startTime"] == f"{world.time:%FT%TZ}"
    trained(world)
    world.pods_end("Succeeded")
    settle(world)
    status = world.status("TrainingRun", "t")
    assert (status["phase"], status["weights"], status["identity"], status["loss"]) == ("Succeeded", "w", "i", 2.5)


def test_the_definition_has_a_place_for_all_that_is_told_of_progress() -> None:
    text = "".join(line for line in DEFINITION.read_text().splitlines(keepends=True) if "{{" not in line)
    schema = yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = schema["properties"]["status"]["properties"]["progress"]["properties"]
    told = TrainingProgress.model_fields.keys() - {"state", "run"}  # the phase says the one, lineage the other
    assert fields.keys() == camel(dict.fromkeys(told, 0)).keys()


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


def test_a_training_tells_for_good_what_its_model_was_made_of(world: World) -> None:
    finish(world)
    status = world.status("TrainingRun", "t")
    assert status["recipe"] == check(TRAINED).identity
    made = {entry.step: entry.digest for entry in RunRecord.read(str(world.folder)).made}
    assert (status["corpus"], status["heldout"]) == (made["pack"], made["split.heldout"])
    assert status["contamination"] == [{"benchmark": "HumanEval", "hits": 2}]
    world.hits = {"HumanEval": 2, "MBPP": 1}
    world.built(TRAINED)
    settle(world)
    assert world.status("TrainingRun", "t") == status


def unreadable(world: World) -> None:
    """The table of hits is gone, at an address where nothing was read before."""
    world.folder = world.folder.rename(world.folder.with_name("moved"))
    world.edit("CorpusBuild", "c", store=str(world.folder))
    seen(world)
    tasks = world.folder / "decontaminate" / "tasks"
    tasks.rename(tasks.with_suffix(".hidden"))


def unrecorded(world: World) -> None:
    run = RunRecord.read(str(world.folder))
    made = tuple(entry for entry in run.made if entry.step != "decontaminate")
    run.model_copy(update={"made": made}).write(str(world.folder))


@pytest.mark.parametrize(("how", "said"), [(unreadable, "decontaminate/tasks"), (unrecorded, "does not tell what")])
def test_no_training_begins_before_it_is_known_what_its_corpus_was_cleaned_of(
    world: World, how: Callable[[World], None], said: str
) -> None:
    how(world)
    settle(world)
    assert world.jobs() == []
    preflight = world.condition("TrainingRun", "t", "Preflight")
    assert preflight["reason"] == "StoreUnread"
    assert said in preflight["message"]
    if (hidden := world.folder / "decontaminate" / "tasks.hidden").exists():
        hidden.rename(hidden.with_suffix(""))
    world.built(TRAINED)
    settle(world)
    assert world.status("TrainingRun", "t")["contamination"] == [{"benchmark": "HumanEval", "hits": 2}]
    assert len(world.jobs()) == 1


@pytest.mark.parametrize("moved", [False, True])
def test_a_training_of_old_tells_what_its_corpus_was_cleaned_of_if_that_is_there_still(
    world: World, moved: bool
) -> None:
    finish(world)
    told = world.status("TrainingRun", "t").pop("contamination")
    world.crawled = "moved" if moved else ""
    world.built(TRAINED)
    settle(world)
    assert look(world) == AT_REST  # and not for ever
    assert world.status("TrainingRun", "t").get("contamination") == (None if moved else told)


def test_a_benchmark_that_could_not_be_loaded_is_none_that_a_corpus_was_cleaned_of(world: World) -> None:
    lost = Quarantined(task="0", inputs={}, at="", kind="error", error="it is gone", attempts=3)
    world.objects["CorpusBuild", "c"]["status"]["digest"] = world.built(TRAINED, unloaded=[lost])
    settle(world)
    assert world.status("TrainingRun", "t")["contamination"] == []


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


def test_a_recipe_that_does_not_fit_the_corpus_is_refused(world: World) -> None:
    world.edit("TrainingRun", "t", recipe={**TRAINED, "sequence_length": 1024})
    settle(world)
    said = world.condition("TrainingRun", "t", "Accepted")["message"]
    assert (phase(world), world.jobs()) == ("Refused", [])
    assert said == "sequence_length is 1024, and the corpus is packed in sequences of 4096"


def test_a_recipe_that_trains_nothing_is_refused(world: World) -> None:
    world.edit("TrainingRun", "t", recipe=RECIPE)
    settle(world)
    assert world.condition("TrainingRun", "t", "Accepted")["message"] == "spec.recipe.train: this key is missing"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"parallel": "zero4"}, "spec.parallel: 'zero4' is none of single, zero1, zero2, zero3"),
        ({"parallel": "single"}, "spec.parallel: 'single' is one process, and 2 are asked for; zero1 lets them share"),
        (
            {"processesPerWorker": 8},
            "spec.recipe.train: batch_size 32 does not give 16 ranks the same number of micro-batches of 8; "
            "make it a multiple of 128",
        ),
        (
            {
                "workers": 1,
                "recipe": {**TRAINED, "extend": {"batch_size": 9, "micro_batch_size": 9}},
                "processesPerWorker": 2,
            },
            "spec.recipe.extend: batch_size 9 does not give 2 ranks the same number of micro-batches of 9; "
            "make it a multiple of 18",
        ),
    ],
)
def test_ranks_that_have_nothing_to_share_are_refused_before_any_waits_for_a_gpu(
    world: World, spec: dict[str, Any], said: str
) -> None:
    world.edit("TrainingRun", "t", **spec)
    settle(world)
    assert (phase(world), world.jobs()) == ("Refused", [])
    assert world.condition("TrainingRun", "t", "Accepted")["message"] == said


def test_an_output_that_cannot_be_written_is_seen_before_anything_runs(world: World) -> None:
    in_the_way = Path(world.objects["TrainingRun", "t"]["spec"]["out"], PROBE, "x")
    in_the_way.mkdir(parents=True)
    settle(world)
    assert world.jobs() == []
    preflight = world.condition("TrainingRun", "t", "Preflight")
    assert (preflight["status"], preflight["reason"]) == ("False", "OutputUnwritable")
    assert str(in_the_way.parent) in preflight["message"]
    in_the_way.rmdir()
    in_the_way.parent.rmdir()
    settle(world)
    assert len(world.jobs()) == 1
    assert not in_the_way.parent.exists()


def test_an_output_is_tried_only_when_a_job_is_to_begin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(kept, "unwritable", lambda uri: tried.append(uri) or "")
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    assert tried == []
    world.edit("TrainingRun", "t", suspend=False)
    settle(world)
    assert len(tried) == 1


def test_a_store_that_holds_another_corpus_is_seen_before_anything_runs(world: World) -> None:
    world.built({**TRAINED, "seed": 9})
    settle(world)
    assert world.jobs() == []
    assert world.condition("TrainingRun", "t", "Preflight")["reason"] == "CorpusChanged"


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


def test_the_job_of_a_finished_training_is_deleted_when_its_time_is_over(world: World) -> None:
    world.edit("TrainingRun", "t", ttlSecondsAfterFinished=60)
    settle(world)
    world.pods_start()
    trained(world)
    world.pods_end("Succeeded")
    settle(world)
    assert look(world) == 60
    assert len(world.jobs()) == 1
    world.advance(60)
    settle(world)
    assert (phase(world), world.jobs()) == ("Succeeded", [])


def test_a_deleted_training_ends_when_its_pods_have(world: World) -> None:
    settle(world)
    world.pods_start()
    world.remove("TrainingRun", "t")
    settle(world)
    assert ("TrainingRun", "t") in world.objects
    world.pods_end("Failed")
    settle(world)
    assert ("TrainingRun", "t") not in world.objects


def unseen(world: World) -> None:
    """The CorpusBuild is edited, and the operator has not looked at it yet."""
    world.edit("CorpusBuild", "c", suspend=not world.objects["CorpusBuild", "c"]["spec"].get("suspend"))


def seen(world: World) -> None:
    build = world.objects["CorpusBuild", "c"]
    build["status"]["observedGeneration"] = build["metadata"]["generation"]


def test_a_running_training_goes_on_while_its_corpus_is_looked_at_anew(world: World) -> None:
    settle(world)
    world.pods_start()
    stepped(world, 3)
    settle(world)
    [job] = world.jobs()
    unseen(world)
    settle(world)
    assert look(world) == 10
    assert (phase(world), world.jobs()) == ("Running", [job])
    assert world.status("TrainingRun", "t")["progress"]["step"] == 3
    world.objects["CorpusBuild", "c"]["status"] = {"phase": "Pending", "observedGeneration": 2, "conditions": []}
    settle(world)
    assert world.jobs() == [job]
    assert "deletionTimestamp" not in job["metadata"]


def test_a_running_training_goes_on_without_its_corpusbuild_and_is_told_so(world: World) -> None:
    settle(world)
    world.pods_start()
    stepped(world, 3)
    settle(world)
    gone = world.objects.pop(("CorpusBuild", "c"))
    settle(world)
    [job] = world.jobs()
    assert "deletionTimestamp" not in job["metadata"]
    assert (phase(world), world.status("TrainingRun", "t")["progress"]["step"]) == ("Running", 3)
    assert world.condition("TrainingRun", "t", "CorpusReady")["reason"] == "CorpusMissing"
    assert world.condition("TrainingRun", "t", "Preflight")["status"] == "Unknown"
    world.objects["CorpusBuild", "c"] = gone
    settle(world)
    assert world.condition("TrainingRun", "t", "CorpusReady")["status"] == "True"
    gone = world.objects.pop(("CorpusBuild", "c"))
    world.edit("TrainingRun", "t", suspend=True)
    settle(world)
    world.pods_end("Failed")
    assert world.jobs() == []


@pytest.mark.parametrize("what", ["corpus gone", "corpus unseen", "corpus refused"])
def test_nothing_that_becomes_of_its_corpusbuild_touches_a_training_that_has_ended(world: World, what: str) -> None:
    finish(world)
    before = world.status("TrainingRun", "t")
    assert (before["phase"], before["weights"]) == ("Succeeded", "w")
    match what:
        case "corpus gone":
            del world.objects["CorpusBuild", "c"]
        case "corpus unseen":
            unseen(world)
        case "corpus refused":
            world.edit("CorpusBuild", "c", recipe={**TRAINED, "sede": 1})
    settle(world)
    assert world.status("TrainingRun", "t") == before
    assert look(world) == (10 if what != "corpus unseen" else AT_REST)


def test_a_training_that_has_ended_is_so_again_when_a_wrong_recipe_is_taken_back(world: World) -> None:
    finish(world)
    world.edit("TrainingRun", "t", recipe={**TRAINED, "sede": 1})
    settle(world)
    assert phase(world) == "Refused"
    world.edit("TrainingRun", "t", recipe=TRAINED)
    settle(world)
    assert (phase(world), world.status("TrainingRun", "t")["weights"]) == ("Succeeded", "w")
    assert world.condition("TrainingRun", "t", "Ready")["status"] == "True"


def test_another_recipe_of_the_corpusbuild_stops_the_training(world: World) -> None:
    settle(world)
    world.pods_start()
    world.edit("CorpusBuild", "c", recipe={**TRAINED, "seed": 9})
    settle(world)
    world.pods_end("Failed")
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.status("TrainingRun", "t")["restarts"] == 0


def test_a_training_with_a_recipe_of_its_own_needs_none_that_trains_in_its_corpusbuild(world: World) -> None:
    world.edit("CorpusBuild", "c", recipe=RECIPE)
    seen(world)
    world.edit("TrainingRun", "t", recipe=TRAINED)
    settle(world)
    assert len(world.jobs()) == 1


def test_a_training_of_a_named_corpus_waits_for_no_other_and_keeps_what_it_made(world: World) -> None:
    digest = world.status("CorpusBuild", "c")["digest"]
    world.edit("TrainingRun", "t", corpusRef={"name": "c", "digest": digest})
    finish(world)
    assert phase(world) == "Succeeded"
    before = world.status("TrainingRun", "t")
    world.objects["CorpusBuild", "c"]["status"]["digest"] = "sha256:other"
    settle(world)
    assert world.status("TrainingRun", "t") == before
    world.put(
        resource("TrainingRun", "u", corpusRef={"name": "c", "digest": digest}, out=str(world.folder.parent / "u"))
    )
    world.settle("TrainingRun", "u")
    assert world.condition("TrainingRun", "u", "CorpusReady")["reason"] == "CorpusChanged"
    assert world.owned("PyTorchJob", "u") == world.owned("TrainJob", "u") == []


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


MISHAPS = st.sampled_from(
    [
        "look",
        "pods start",
        "some pods start",
        "pods succeed",
        "pods fail",
        "step",
        "delete job",
        "suspend",
        "resume",
        "time",
        "resize",
        "corpus unseen",
        "corpus seen",
        "edit job",
        "delete files",
        "lose status",
    ]
)


def happen(world: World, what: str) -> None:
    match what:
        case "look":
            look(world)
        case "pods start":
            world.pods_start()
        case "some pods start":
            world.pods_start(missing=1)
        case "pods succeed":
            trained(world)
            world.pods_end("Succeeded")
        case "pods fail":
            world.pods_end("Failed")
        case "step":
            stepped(world, world.writes)
        case "delete job":
            for job in world.jobs():
                world.remove(job["kind"], job["metadata"]["name"])
        case "delete files":
            for kind in ("ConfigMap", "TrainingRuntime"):
                for file in world.owned(kind, "t"):
                    world.remove(kind, file["metadata"]["name"])
        case "edit job":
            for job in world.jobs():
                admit(job, suspend=not suspended(job))
        case "lose status":
            world.objects["TrainingRun", "t"].pop("status", None)
        case "suspend" | "resume":
            world.edit("TrainingRun", "t", suspend=what == "suspend")
        case "time":
            world.advance(1000)
        case "corpus unseen":
            unseen(world)
        case "corpus seen":
            seen(world)
        case "resize":
            world.edit("TrainingRun", "t", workers=3 - world.objects["TrainingRun", "t"]["spec"]["workers"])


def play(world: World, step: Any) -> None:
    match step:
        case ("dies after", writes):
            world.lives = writes
            look(world)
            world.lives = 10**9
        case ("meanwhile", what):
            world.between = lambda: happen(world, what) if what != "look" else None
            look(world)
            world.between = None
        case str():
            happen(world, step)


STEPS = st.lists(
    st.one_of(MISHAPS, st.tuples(st.just("dies after"), st.integers(0, 3)), st.tuples(st.just("meanwhile"), MISHAPS)),
    max_size=20,
)


@given(st.sampled_from(TrainingJob), STEPS)
def test_whatever_happens_there_are_never_two_jobs_and_no_failure_counts_twice(
    job: TrainingJob, steps: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder), job=job)
        failures = 0
        for step in steps:
            failures += step == "pods fail" or step == "time" or step[1] in ("pods fail", "time")  # each may be one
            play(world, step)
            assert len(world.jobs()) <= 1
            assert world.objects["TrainingRun", "t"].get("status", {}).get("restarts", 0) <= failures
        world.edit("TrainingRun", "t", suspend=False, maxRestarts=1000)
        seen(world)
        finish(world)
        assert phase(world) == "Succeeded"
        before = world.writes
        look(world)
        assert world.writes == before
