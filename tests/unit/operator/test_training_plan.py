from pathlib import Path
from typing import Any

import pytest
from trainings import TRAINED, finish, look, phase, seen, settle, stepped, unseen
from worlds import RECIPE, World, resource

from repoloom_operator.handlers import AT_REST


def test_a_training_waits_for_its_corpus(world: World) -> None:
    ready = world.objects["CorpusBuild", "c"].pop("status")
    settle(world)
    assert (phase(world), world.jobs()) == ("Pending", [])
    assert world.condition("TrainingRun", "t", "CorpusReady")["reason"] == "CorpusNotReady"
    world.objects["CorpusBuild", "c"]["status"] = ready
    settle(world)
    assert len(world.jobs()) == 1


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


@pytest.mark.parametrize("out", ["out", "corpus/../out"])
def test_an_output_below_none_of_the_roots_is_refused_and_never_written_to(
    world: World, tmp_path: Path, out: str
) -> None:
    world.edit("TrainingRun", "t", out=f"{tmp_path}/{out}")
    world.write_below(world.folder)
    settle(world)
    said = world.condition("TrainingRun", "t", "Accepted")
    assert (said["status"], said["reason"]) == ("False", "OutsideRoots")
    assert said["message"].startswith("spec.out: ")
    assert (phase(world), world.jobs()) == ("Refused", [])
    assert not (tmp_path / "out").exists()


def test_an_output_below_a_root_is_trained_into(world: World, tmp_path: Path) -> None:
    world.write_below(world.folder, tmp_path)
    finish(world)
    assert phase(world) == "Succeeded"


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
