from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trainings import TRAINED, finish, look, phase, seen, settle, stepped, trained
from worlds import World

from repoloom.corpus.manifest import Quarantined
from repoloom.recipe.run import RunRecord
from repoloom.training.progress import TrainingProgress
from repoloom_operator import kept
from repoloom_operator.handlers import AT_REST
from repoloom_operator.kept import PROBE
from repoloom_operator.recipes import check
from repoloom_operator.resources import camel

DEFINITION = Path(__file__).parents[3] / "charts/repoloom/templates/crds/trainingruns.yaml"


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
    assert status["model"] == f"{world.objects['TrainingRun', 't']['spec']['out']}/models/w"


def test_progress_is_told_in_the_digits_that_people_read(world: World) -> None:
    settle(world)
    world.pods_start()
    stepped(world, 3, loss=2.3456789, rate=123456.7)
    look(world)
    progress = world.status("TrainingRun", "t")["progress"]
    assert (progress["loss"], progress["tokensPerSecond"]) == (2.346, 123500)


def test_the_definition_has_a_place_for_all_that_is_told_of_progress() -> None:
    text = "".join(line for line in DEFINITION.read_text().splitlines(keepends=True) if "{{" not in line)
    schema = yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = schema["properties"]["status"]["properties"]["progress"]["properties"]
    told = TrainingProgress.model_fields.keys() - {"state", "run", "work"}  # phase and lineage say what these do
    assert fields.keys() == camel(dict.fromkeys(told, 0)).keys()


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
