"""A model is measured, by what it was made of, and comes no further than its gates."""

from collections.abc import Callable
from typing import Any

import pytest
from releases import evaluated, everywhere, finish, gates, measured, phase, served, settle
from trainings import TRAINED
from worlds import World

from repoloom import store as stores
from repoloom.store import open_store
from repoloom_operator.recipes import check as recipe


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


def test_other_gates_take_a_model_back_before_it_is_measured_by_them(world: World) -> None:
    measured(world)
    gates(world, maxBitsPerByte=1)
    settle(world)
    assert (phase(world), *everywhere(world)) == ("Rejected", "old", "old")
