"""The custom resources on a cluster, with real workers, a real store and the real training operator."""

import json
from typing import Any

from operated import Operated, condition

from cluster import wait_for

LIMIT = 400.0  # seconds of a run, on two cores that do everything else too


def test_a_build_makes_the_laptops_bytes_though_its_operator_is_killed(
    operated: Operated, recipe: dict[str, Any], laptop: str
) -> None:
    operated.make("CorpusBuild", "killed", recipe=recipe, store=operated.store("killed"))
    operated.reaches("CorpusBuild", "killed", "Running", LIMIT)
    for pod in operated.pods("operator"):
        operated.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    status = operated.reaches("CorpusBuild", "killed", "Ready", LIMIT)
    assert status["digest"] == laptop
    assert status["progress"]["stepsDone"] == status["progress"]["stepsTotal"]
    for passage in status["funnel"]:
        assert passage["entering"] == passage["kept"] + sum(passage["dropped"].values())
    assert len(operated.children("jobs", "killed")) == 1
    assert operated.events("killed")["Built"] == f"the corpus is {laptop}"


def test_a_suspended_build_has_no_pods_and_goes_on_to_the_same_bytes(
    operated: Operated, recipe: dict[str, Any], laptop: str
) -> None:
    operated.make("CorpusBuild", "paused", recipe=recipe, store=operated.store("paused"))
    wait_for("a step is done", LIMIT, lambda: _steps_done(operated, "paused") >= 1)
    operated.kubectl("patch", "corpusbuild", "paused", "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    operated.reaches("CorpusBuild", "paused", "Suspended", 60)
    wait_for("its pods have ended", 150, lambda: not _running(operated, "paused"))
    done = _steps_done(operated, "paused")
    operated.kubectl("patch", "corpusbuild", "paused", "--type=merge", "--patch", '{"spec": {"suspend": false}}')
    assert operated.reaches("CorpusBuild", "paused", "Ready", LIMIT)["digest"] == laptop
    assert done < _steps_done(operated, "paused")


def test_a_wrong_recipe_is_refused_with_the_nearest_right_spelling(operated: Operated, recipe: dict[str, Any]) -> None:
    operated.make("CorpusBuild", "wrong", recipe={**recipe, "sede": 3}, store=operated.store("wrong"))
    status = operated.reaches("CorpusBuild", "wrong", "Refused", 60)
    said = condition(status, "Accepted")["message"]
    assert said.startswith("spec.recipe.sede: there is no such key; did you mean 'seed'? Allowed here: ")
    assert operated.events("wrong")["RecipeRefused"]
    assert operated.children("jobs", "wrong") == []


def test_a_resource_that_is_deleted_takes_its_job_and_leaves_its_data(
    operated: Operated, recipe: dict[str, Any]
) -> None:
    operated.make("CorpusBuild", "gone", recipe=recipe, store=operated.store("gone"))
    wait_for("a step is done", LIMIT, lambda: _steps_done(operated, "gone") >= 1)
    operated.kubectl("delete", "corpusbuild", "gone", "--timeout=150s")
    assert _running(operated, "gone") == []
    operated.make("CorpusBuild", "gone", recipe=recipe, store=operated.store("gone"), suspend=True)
    operated.reaches("CorpusBuild", "gone", "Suspended", 60)
    assert _steps_done(operated, "gone") >= 1


def test_a_training_that_fails_begins_anew_as_often_as_it_may_and_says_why(
    operated: Operated, recipe: dict[str, Any]
) -> None:
    operated.make("CorpusBuild", "corpus", recipe=_training(recipe), store=operated.store("killed"))
    operated.reaches("CorpusBuild", "corpus", "Ready", LIMIT)
    out = operated.store("model")
    operated.make("TrainingRun", "failing", corpusRef={"name": "corpus"}, out=out, workers=2, maxRestarts=1)
    status = operated.reaches("TrainingRun", "failing", "Failed", LIMIT)
    assert status["restarts"] == 2
    assert "torchrun" in condition(status, "Ready")["message"]
    assert [job["metadata"]["name"] for job in operated.children("pytorchjobs", "failing")] == ["failing-train"]


def test_without_one_of_its_rights_the_operator_can_do_nothing_and_with_it_goes_on(
    operated: Operated, recipe: dict[str, Any]
) -> None:
    rules = operated.get("role", "repoloom-operator")["rules"]
    fewer = [rule for rule in rules if rule["resources"] != ["jobs"]]
    _grant(operated, [*fewer, {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch"]}])
    operated.make("CorpusBuild", "bound", recipe=recipe, store=operated.store("bound"))
    log = ("logs", "deployment/repoloom-operator")
    wait_for("it is told", 60, lambda: "cannot create resource" in operated.kubectl(*log))
    assert operated.children("jobs", "bound") == []
    _grant(operated, rules)
    wait_for("its job is there", 180, lambda: bool(operated.children("jobs", "bound")))


def _training(recipe: dict[str, Any]) -> dict[str, Any]:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    size = {**sizes, "num_key_value_heads": 1, "rope_linear_factor": 1, "tie_word_embeddings": True}
    batches = {"batch_size": 8, "micro_batch_size": 4, "steps": 20, "learning_rate": 0.01, "warmup_steps": 2}
    return {**recipe, "train": {"size": size, **batches}}


def _grant(operated: Operated, rules: list[dict[str, Any]]) -> None:
    operated.kubectl("patch", "role", "repoloom-operator", "--type=merge", "--patch", json.dumps({"rules": rules}))


def _steps_done(operated: Operated, build: str) -> int:
    return int(operated.status("CorpusBuild", build).get("progress", {}).get("stepsDone", 0))


def _running(operated: Operated, owner: str) -> list[str]:
    pods = operated.children("pods", owner)
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]
