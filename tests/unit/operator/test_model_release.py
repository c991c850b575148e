import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import TRAINED
from worlds import World, resource

from repoloom import store as stores
from repoloom.evaluation.result import Compared, Evaluation, Scores
from repoloom.recipe.results import EVALUATION, Evaluated, evaluation_identity
from repoloom.store import open_store
from repoloom_operator.deployments import HOLDER
from repoloom_operator.recipes import check as recipe

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
        "model": "s3://models/new",
        "identity": "i",
        "corpus": world.built(TRAINED),
        "recipe": recipe(TRAINED).identity,
        "heldout": "h",
        "contamination": [{"benchmark": "HumanEval", "hits": 2}],
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


def evaluated(
    world: World,
    bits: float | None = 2.0,
    training: str = "t",
    by: Mapping[str, Any] = TRAINED,
    heldout: str = "h",
) -> None:
    scores = Scores(bits_per_byte=bits, exact_match=0.25, edit_similarity=0.5)
    overall = Compared(name="", bytes=1, holes=1, trained=scores, untrained=scores)
    evaluation = Evaluation(overall=overall, languages=(), samples=())
    run, made = world.objects["TrainingRun", training], recipe(by).recipe
    assert made.train
    weights = run["status"]["weights"]
    identity = evaluation_identity(made.evaluate, made.train.seed, weights, heldout)
    record = Evaluated(identity=identity, weights=weights, heldout=heldout, evaluation=evaluation)
    out = open_store(run["spec"]["out"])
    stores.write(out, EVALUATION, record.model_dump_json().encode())


def serve(world: World, *, broken: tuple[str, ...] = ()) -> None:
    """Kubernetes brings the Deployments to what they are to be."""
    for name in ("web", "web-canary"):
        deployment = world.objects["Deployment", name]
        replicas = deployment["spec"]["replicas"]
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": replicas}
        stuck = name in broken and served(world, name) == "new"
        if stuck:
            reason = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            deployment["status"] = {**status, "updatedReplicas": replicas, "conditions": [reason]}
        else:
            deployment["status"] = {**status, "updatedReplicas": replicas, "availableReplicas": replicas}


def served(world: World, name: str) -> str:
    [container] = world.objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return str({entry["name"]: entry["value"] for entry in container["env"]}["REPOLOOM_MODEL_SHA256"])


def everywhere(world: World) -> tuple[str, str]:
    return served(world, "web"), served(world, "web-canary")


def phase(world: World, release: str = "r") -> str:
    return str(world.status("ModelRelease", release)["phase"])


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
    assert status["model"] == "s3://models/new"
    [container] = world.objects["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "REPOLOOM_MODEL", "value": "s3://models/new"} in container["env"]
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


def test_a_model_is_not_measured_before_there_is_something_that_can_serve_it(world: World) -> None:
    web = world.objects.pop(("Deployment", "web"))
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "DeploymentMissing"
    assert not world.jobs()
    world.put(web)
    settle(world)
    world.pods_start()
    del world.objects["Deployment", "web"]
    settle(world)
    assert phase(world) == "Evaluating"  # what is under way goes on
    world.pods_end("Failed")
    settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "EvaluationFailed"


def test_a_model_is_judged_by_the_corpus_that_it_was_trained_on_and_by_no_later_one(world: World) -> None:
    evaluated(world)
    world.hits = {"HumanEval": 2, "MBPP": 1}
    world.built(TRAINED)
    gates(world, decontaminatedFrom=["MBPP"])
    settle(world)
    assert phase(world) == "Rejected"
    assert world.status("ModelRelease", "r")["contamination"] == [{"benchmark": "HumanEval", "hits": 2}]


def another_corpus(world: World) -> None:
    world.built({**TRAINED, "seed": 9})


def unreadable(world: World) -> None:
    stores.write(open_store(str(world.folder)), "run.json", b"{}")


@pytest.mark.parametrize("happens", [World.runs_again, unreadable, another_corpus])
def test_what_becomes_of_the_store_rejects_no_model(world: World, happens: Callable[[World], object]) -> None:
    evaluated(world)
    happens(world)
    settle(world)
    assert phase(world) == "Canary"


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (World.runs_again, "CorpusNotReady"),
        (unreadable, "StoreUnread"),
        (another_corpus, "CorpusChanged"),
    ],
)
def test_a_model_is_not_measured_before_its_corpus_is_there(
    world: World, happens: Callable[[World], object], reason: str
) -> None:
    happens(world)
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == reason
    world.built(TRAINED)
    settle(world)
    assert len(world.jobs()) == 1


@pytest.mark.parametrize("other", [{**TRAINED, "seed": 9}, {**TRAINED, "sede": 9}])
def test_a_model_is_measured_by_the_recipe_that_made_it_or_not_at_all(world: World, other: dict[str, Any]) -> None:
    world.edit("CorpusBuild", "c", recipe=other)
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "RecipeChanged"
    world.edit("CorpusBuild", "c", recipe=TRAINED)
    finish(world)
    assert world.status("ModelRelease", "r")["lineage"]["recipe"] == recipe(TRAINED).identity


def test_a_model_of_which_it_is_not_known_what_it_was_made_of_waits(world: World) -> None:
    evaluated(world)
    found = world.objects["TrainingRun", "t"]["status"].pop("contamination")
    settle(world)
    assert (phase(world), world.condition("ModelRelease", "r", "Ready")["reason"]) == ("Pending", "LineageUnknown")
    world.objects["TrainingRun", "t"]["status"]["contamination"] = found
    settle(world)
    assert phase(world) == "Canary"


@pytest.mark.parametrize("other", [{"by": {**TRAINED, "evaluate": {"holes": 1}}}, {"heldout": "others"}])
def test_an_evaluation_of_another_recipe_or_of_other_repositories_counts_for_nothing(
    world: World, other: dict[str, Any]
) -> None:
    evaluated(world, **other)
    settle(world)
    assert phase(world) == "Evaluating"
    measured(world)
    assert phase(world) == "Canary"


def test_what_was_not_measured_passes_no_gate(world: World) -> None:
    measured(world, bits=None)
    assert phase(world) == "Rejected"


def at_work(world: World) -> bool:
    return [job for job in world.jobs() if "deletionTimestamp" not in job["metadata"]] != []


def test_an_evaluation_goes_on_while_its_training_is_looked_at_and_not_when_that_is_another(world: World) -> None:
    settle(world)
    world.pods_start()
    world.edit("TrainingRun", "t", ttlSecondsAfterFinished=60)
    settle(world)
    assert (phase(world), at_work(world)) == ("Evaluating", True)
    world.objects["TrainingRun", "t"]["status"].pop("weights")  # it begins anew
    settle(world)
    assert (phase(world), at_work(world)) == ("Pending", False)


def test_an_evaluation_stops_when_its_training_is_gone(world: World) -> None:
    settle(world)
    world.pods_start()
    del world.objects["TrainingRun", "t"]
    settle(world)
    assert (phase(world), at_work(world)) == ("Pending", False)


def test_a_deleted_corpusbuild_stops_no_evaluation_and_holds_back_no_measured_model(world: World) -> None:
    settle(world)
    world.pods_start()
    del world.objects["CorpusBuild", "c"]
    settle(world)
    assert (phase(world), at_work(world)) == ("Evaluating", True)
    finish(world)
    assert phase(world) == "Released"


def test_a_model_whose_corpusbuild_is_gone_is_measured_no_more_and_that_is_said(world: World) -> None:
    settle(world)
    world.remove("Job", "r-evaluate")
    del world.objects["CorpusBuild", "c"]
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "CorpusMissing"


def test_a_model_of_old_whose_corpus_has_moved_is_released_if_no_gate_asks_what_that_was_cleaned_of(
    world: World,
) -> None:
    evaluated(world)
    for name in ("heldout", "contamination"):
        world.objects["TrainingRun", "t"]["status"].pop(name)
    world.crawled = "moved"
    world.built(TRAINED)
    settle(world)
    ready = world.condition("ModelRelease", "r", "Ready")
    assert ready["reason"] == "LineageUnknown"
    assert ready["message"].endswith("train again, or leave out the gate decontaminatedFrom")
    gates(world, maxBitsPerByte=3)
    finish(world)
    assert phase(world) == "Released"


def test_an_evaluation_of_another_model_counts_for_nothing(world: World) -> None:
    evaluated(world)
    world.objects["TrainingRun", "t"]["status"]["weights"] = "newer"
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
    assert (phase(world), *everywhere(world)) == ("RolledBack", "old", "old")


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


def rolling_out(world: World) -> None:
    """The canary held, and all replicas are told to serve the model."""
    measured(world)
    serve(world)
    settle(world)
    world.advance(60)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("RollingOut", "new", "new")


def training_begins_anew(world: World) -> None:
    world.edit("TrainingRun", "t", hangSeconds=9)


def training_is_looked_at(world: World) -> None:
    training = world.objects["TrainingRun", "t"]
    training["status"]["observedGeneration"] = training["metadata"]["generation"]


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


def test_other_gates_take_a_model_back_before_it_is_measured_by_them(world: World) -> None:
    measured(world)
    gates(world, maxBitsPerByte=1)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Rejected", "old", "old")


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
