import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training_run import TRAINED
from worlds import World, resource

from repoloom import store as stores
from repoloom.evaluation.result import Compared, Evaluation, Scores
from repoloom.recipe.results import EVALUATION, Evaluated
from repoloom.store import open_store

FORMER = {"REPOLOOM_MODEL": "s3://models/old", "REPOLOOM_MODEL_SHA256": "old"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return a_world(tmp_path)


def a_world(folder: Path) -> World:
    """A world with a corpus, a training that has succeeded, and a model that is served."""
    world = World(folder / "corpus")
    world.put(resource("CorpusBuild", "c", recipe=TRAINED, store=str(world.folder)))
    world.put(resource("TrainingRun", "t", corpusRef={"name": "c"}, out=str(folder / "out")))
    world.objects["TrainingRun", "t"]["status"] = {
        "phase": "Succeeded",
        "observedGeneration": 1,
        "weights": "new",
        "identity": "i",
        "corpus": world.built(TRAINED),
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    for name in ("web", "web-canary"):
        environment = [{"name": key, "value": value} for key, value in FORMER.items()]
        container = {"name": "server", "env": environment}
        template = {"spec": {"containers": [container]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
        world.put({"kind": "Deployment", "metadata": {"name": name}, "spec": spec})
    world.put(resource("ModelRelease", "r", trainingRef={"name": "t"}, deployment="web", canary={"seconds": 60}))
    gates(world, maxBitsPerByte=3, minExactMatch=0.1, minEditSimilarity=0.2, decontaminatedFrom=["HumanEval"])
    return world


def gates(world: World, **wanted: Any) -> None:
    world.edit("ModelRelease", "r", gates=wanted)


def look(world: World) -> float | None:
    return world.look("ModelRelease", "r")


def settle(world: World) -> None:
    world.settle("ModelRelease", "r")


def evaluated(world: World, bits: float | None = 2.0) -> None:
    scores = Scores(bits_per_byte=bits, exact_match=0.25, edit_similarity=0.5)
    overall = Compared(name="", bytes=1, holes=1, trained=scores, untrained=scores)
    evaluation = Evaluation(overall=overall, languages=(), samples=())
    record = Evaluated(identity="e", weights="new", heldout="h", evaluation=evaluation)
    out = open_store(world.objects["TrainingRun", "t"]["spec"]["out"])
    stores.write(out, EVALUATION, record.model_dump_json().encode())


def serve(world: World, *, broken: tuple[str, ...] = ()) -> None:
    """Kubernetes brings the Deployments to what they are to be."""
    for name in ("web", "web-canary"):
        deployment = world.objects["Deployment", name]
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 1}
        stuck = name in broken and served(world, name) == "new"
        if stuck:
            reason = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            deployment["status"] = {**status, "updatedReplicas": 1, "conditions": [reason]}
        else:
            deployment["status"] = {**status, "updatedReplicas": 1, "availableReplicas": 1}


def served(world: World, name: str) -> str:
    [container] = world.objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return str({entry["name"]: entry["value"] for entry in container["env"]}["REPOLOOM_MODEL_SHA256"])


def phase(world: World) -> str:
    return str(world.status("ModelRelease", "r")["phase"])


def measured(world: World, bits: float | None = 2.0) -> None:
    settle(world)
    world.pods_start()
    evaluated(world, bits)
    world.pods_end("Complete")
    settle(world)


def finish(world: World) -> None:
    measured(world)
    for _ in range(5):
        serve(world)
        settle(world)
        world.advance(60)
        settle(world)


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
    assert status["scores"]["bitsPerByte"] == 2.0


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"maxBitsPerByte": 1.5}, "bits per byte is 2, at most 1.5 is wanted"),
        ({"minExactMatch": 0.3}, "exact match is 0.25, at least 0.3 is wanted"),
        ({"minEditSimilarity": 0.6}, "edit similarity is 0.5, at least 0.6 is wanted"),
        (
            {"decontaminatedFrom": ["HumanEval", "MBPP"]},
            "the corpus was not decontaminated from MBPP, it was from: HumanEval",
        ),
    ],
)
def test_a_model_that_misses_a_gate_is_served_nowhere(world: World, wanted: dict[str, Any], said: str) -> None:
    gates(world, **wanted)
    measured(world)
    assert (phase(world), served(world, "web"), served(world, "web-canary")) == ("Rejected", "old", "old")
    assert world.condition("ModelRelease", "r", "GatesPassed")["message"] == said


def test_what_was_not_measured_passes_no_gate(world: World) -> None:
    measured(world, bits=None)
    assert phase(world) == "Rejected"


def test_an_evaluation_of_another_model_counts_for_nothing(world: World) -> None:
    world.objects["TrainingRun", "t"]["status"]["weights"] = "newer"
    evaluated(world)
    settle(world)
    assert phase(world) == "Evaluating"
    assert len(world.jobs()) == 1


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
    container = {"state": {"waiting": waits}, "lastState": {"terminated": ended}}
    metadata = {"name": "p", "labels": {"app": "web-canary"}, "creationTimestamp": "2026-01-01T00:00:00Z"}
    world.put({"kind": "Pod", "metadata": metadata, "status": {"containerStatuses": [container]}})
    said = "error: these are other weights (exit code 1)"
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["message"] == said
    serve(world, broken=("web-canary",))
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["message"].splitlines()[1] == said
    assert any(said in message for reason, message in world.events if reason == "RolledBack")


def test_a_canary_that_falters_is_taken_back_before_others_get_the_model(world: World) -> None:
    measured(world)
    serve(world)
    settle(world)
    world.objects["Deployment", "web-canary"]["status"]["availableReplicas"] = 0
    world.advance(10)
    settle(world)
    assert (phase(world), served(world, "web"), served(world, "web-canary")) == ("RolledBack", "old", "old")


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


@given(st.lists(st.sampled_from(["look", 0, 1, 2, "serve", "time", "delete job", "measured"]), max_size=25))
def test_however_often_the_operator_dies_the_model_is_served_by_all_or_none(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder))
        for step in steps:
            if isinstance(step, int):
                world.lives = step
                look(world)
                world.lives = 10**9
            elif step == "look":
                look(world)
            elif step == "serve":
                serve(world)
            elif step == "time":
                world.advance(100)
            elif step == "measured":
                world.pods_start()
                evaluated(world)
                world.pods_end("Complete")
            else:
                for job in world.jobs():
                    world.remove(job["kind"], job["metadata"]["name"])
            assert len(world.jobs()) <= 1
            if served(world, "web") == "new":  # nobody is served by what no canary has tried
                assert world.status("ModelRelease", "r")["canarySince"]
        finish(world)
        assert phase(world) == "Released"
        assert served(world, "web") == served(world, "web-canary") == "new"
        former = world.status("ModelRelease", "r")["former"]
        assert former == {"uri": FORMER["REPOLOOM_MODEL"], "sha256": "old"}
