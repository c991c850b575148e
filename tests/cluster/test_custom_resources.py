"""The custom resources on a cluster, with real workers, a real store and the real training operator."""

import json
from typing import Any

import pytest

from cluster import Namespace, condition, output, wait_for

LIMIT = 400.0  # seconds of a run, on two cores that do everything else too


def test_a_build_that_is_suspended_or_deleted_has_no_pods_and_goes_on_to_the_same_bytes(
    namespace: Namespace, recipe: dict[str, Any], laptop: str
) -> None:
    store = namespace.store("paused")
    namespace.make("CorpusBuild", "paused", recipe=recipe, store=store)
    wait_for("a step is done", LIMIT, lambda: _steps_done(namespace) >= 1)
    namespace.make("CorpusBuild", "paused", recipe=recipe, store=store, suspend=True)
    namespace.reaches("CorpusBuild", "paused", "Suspended", 60)
    wait_for("its pods have ended", 150, lambda: not namespace.running("paused"))
    done = _steps_done(namespace)
    namespace.make("CorpusBuild", "paused", recipe=recipe, store=store, suspend=False)
    wait_for("another step is done", LIMIT, lambda: _steps_done(namespace) > done)
    namespace.kubectl("delete", "corpusbuild", "paused", "--timeout=150s")
    assert namespace.running("paused") == []
    namespace.make("CorpusBuild", "paused", recipe=recipe, store=store, suspend=True)
    namespace.reaches("CorpusBuild", "paused", "Suspended", 60)
    assert _steps_done(namespace) > done
    namespace.make("CorpusBuild", "paused", recipe=recipe, store=store, suspend=False)
    assert namespace.reaches("CorpusBuild", "paused", "Ready", LIMIT)["digest"] == laptop


def test_a_wrong_recipe_is_refused_with_the_nearest_right_spelling(
    namespace: Namespace, recipe: dict[str, Any]
) -> None:
    namespace.make("CorpusBuild", "wrong", recipe={**recipe, "sede": 3}, store=namespace.store("wrong"))
    status = namespace.reaches("CorpusBuild", "wrong", "Refused", 60)
    said = condition(status, "Accepted")["message"]
    assert said.startswith("spec.recipe.sede: there is no such key; did you mean 'seed'? Allowed here: ")
    assert namespace.events("wrong")["RecipeRefused"]
    assert namespace.children("jobs", "wrong") == []


def test_a_second_release_is_told_to_share_the_definitions(namespace: Namespace) -> None:
    values = output("helm", "get", "values", "repoloom", "--namespace", namespace.name, "--output=yaml")
    command = ("helm", "install", "other", "charts/repoloom", "--namespace", namespace.name, "--values=-")
    with pytest.raises(AssertionError, match=r"is of the release repoloom of the namespace .* set crds.create=false"):
        output(*command, "--dry-run=server", given=values)


def test_a_training_that_fails_begins_anew_as_often_as_it_may_and_says_why(
    namespace: Namespace, recipe: dict[str, Any], corpus: str
) -> None:
    diverging = {**recipe, "train": {**recipe["train"], "learning_rate": 1e30, "gradient_clip": 1e30}}
    spec = {"corpusRef": {"name": "calm"}, "recipe": diverging, "out": f"{corpus}/failing", "maxRestarts": 1}
    namespace.make("TrainingRun", "failing", **spec)
    status = namespace.reaches("TrainingRun", "failing", "Failed", LIMIT)
    assert status["restarts"] == 2
    assert "lower learning_rate" in condition(status, "Ready")["message"]
    assert [job["metadata"]["name"] for job in namespace.children("pytorchjobs", "failing")] == ["failing-train"]


def test_without_one_of_its_rights_the_operator_can_do_nothing_and_with_it_goes_on(
    namespace: Namespace, recipe: dict[str, Any]
) -> None:
    rules = namespace.get("role", "repoloom-operator")["rules"]
    fewer = [rule for rule in rules if rule["resources"] != ["jobs"]]
    _grant(namespace, [*fewer, {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch"]}])
    namespace.make("CorpusBuild", "bound", recipe=recipe, store=namespace.store("bound"))
    log = ("logs", "deployment/repoloom-operator")
    wait_for("it is told", 60, lambda: "cannot create resource" in namespace.kubectl(*log))
    assert namespace.children("jobs", "bound") == []
    _grant(namespace, rules)
    wait_for("its job is there", 180, lambda: bool(namespace.children("jobs", "bound")))
    namespace.kubectl("delete", "corpusbuild", "bound", "--timeout=150s")


def _grant(namespace: Namespace, rules: list[dict[str, Any]]) -> None:
    namespace.kubectl("patch", "role", "repoloom-operator", "--type=merge", "--patch", json.dumps({"rules": rules}))


def _steps_done(namespace: Namespace) -> int:
    return int(namespace.status("CorpusBuild", "paused").get("progress", {}).get("stepsDone", 0))
