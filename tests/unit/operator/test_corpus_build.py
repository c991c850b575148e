import tempfile
from pathlib import Path
from typing import Any

import pytest
import trainings
import yaml
from histories import play, steps
from hypothesis import example, given
from hypothesis import strategies as st
from worlds import IMAGES, RECIPE, World, resource

from repoloom import store as stores
from repoloom.recipe.progress import PROGRESS, Progress
from repoloom.store import open_store
from repoloom_operator.settings import Settings

OTHER: dict[str, Any] = {**RECIPE, "seed": 7}
WRONG: dict[str, Any] = {**RECIPE, "sede": 7}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return a_world(tmp_path)


def a_world(folder: Path) -> World:
    world = World(folder)
    world.put(resource("CorpusBuild", "c", recipe=RECIPE, store=str(folder)))
    return world


def look(world: World) -> float | None:
    return world.look("CorpusBuild", "c")


def settle(world: World) -> None:
    """Looks until nothing is left to do."""
    world.settle("CorpusBuild", "c")


def finish(world: World) -> str:
    """All pods do their work, and the operator looks, until all is done; returns the digest that the pods made."""
    digest = ""
    for _ in range(6):
        settle(world)
        world.pods_start()
        settle(world)
        if ("CorpusBuild", "c") in world.objects:
            digest = world.built(world.objects["CorpusBuild", "c"]["spec"]["recipe"])
        world.pods_end("Complete")
    settle(world)
    return digest


def test_a_build_runs_the_recipe_into_its_store_and_tells_its_digest_and_funnel(world: World) -> None:
    settle(world)
    [job] = world.jobs()
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][:6] == ["repoloom", "run", "/recipe/recipe.yaml", "--out", "/tmp/run", "--store"]
    assert job["spec"]["backoffLimit"] == 4
    digest = finish(world)
    status = world.status("CorpusBuild", "c")
    assert (status["phase"], status["digest"], status["observedGeneration"]) == ("Ready", digest, 1)
    assert status["funnel"][0] == {"step": "filter", "entering": 9, "kept": 7, "quarantined": 0, "dropped": {"long": 2}}
    assert ("Built", f"the corpus is {digest}") in world.events


def test_a_corpus_of_nothing_is_told_and_nothing_is_trained_on_it(tmp_path: Path) -> None:
    world = trainings.a_world(tmp_path)
    del world.objects["CorpusBuild", "c"]["status"]
    world.left = 0
    finish(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"
    assert world.condition("CorpusBuild", "c", "Whole")["reason"] == "Empty"
    trainings.settle(world)
    assert world.condition("TrainingRun", "t", "Preflight")["reason"] == "CorpusEmpty"
    assert [job["kind"] for job in world.jobs()] == ["Job"]


def test_of_the_pods_that_it_starts_only_those_of_a_build_have_redis(tmp_path: Path) -> None:
    store, queue = ({"secretRef": {"name": name}} for name in ("store", "redis"))
    world = trainings.a_world(tmp_path)
    world.settings = Settings.model_validate(
        {"images": IMAGES, "envFrom": [store], "data": {"envFrom": [queue], "env": [{"name": "A", "value": "b"}]}}
    )
    world.put(resource("CorpusBuild", "d", recipe=RECIPE, store=str(tmp_path / "d")))
    trainings.settle(world)
    world.settle("CorpusBuild", "d")
    training, build = (
        next(job["spec"] for job in world.jobs() if job["kind"] == kind) for kind in ("PyTorchJob", "Job")
    )
    for template, queued, sources, variables in (
        (build["template"], True, [store, queue], ["A"]),
        (training["pytorchReplicaSpecs"]["Worker"]["template"], False, [store], []),
    ):
        labels = template["metadata"]["labels"]
        assert labels["repoloom.dev/data"] == "true"
        assert ("repoloom.dev/queue" in labels) is queued
        [container] = template["spec"]["containers"]
        assert container["envFrom"] == sources
        assert [entry["name"] for entry in container["env"] if entry["name"] == "A"] == variables


def test_the_recipe_of_a_pod_is_the_one_of_the_resource(world: World) -> None:
    settle(world)
    [config] = world.owned("ConfigMap", "c")
    assert yaml.safe_load(config["data"]["recipe.yaml"]) == RECIPE
    [job] = world.jobs()
    volumes = job["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["configMap"]["name"] == config["metadata"]["name"]


def test_a_wrong_recipe_is_refused_with_where_what_and_the_nearest_and_nothing_runs(world: World) -> None:
    world.edit("CorpusBuild", "c", recipe=WRONG)
    settle(world)
    said = world.condition("CorpusBuild", "c", "Accepted")
    assert said["status"] == "False"
    assert said["message"].startswith("spec.recipe.sede: there is no such key; did you mean 'seed'?")
    assert world.jobs() == []
    assert world.events[0] == ("RecipeRefused", said["message"])


def test_a_store_below_none_of_the_roots_is_refused_and_nothing_runs(world: World, tmp_path: Path) -> None:
    world.write_below(tmp_path / "a", tmp_path / "b")
    settle(world)
    said = world.condition("CorpusBuild", "c", "Accepted")
    assert (said["status"], said["reason"]) == ("False", "OutsideRoots")
    below = f"{tmp_path} lies below none of the stores that the chart's store.address names: {tmp_path}/a, {tmp_path}/b"
    assert said["message"] == f"spec.store: {below}"
    assert (world.status("CorpusBuild", "c")["phase"], world.jobs()) == ("Refused", [])
    world.write_below(tmp_path / "a", tmp_path)
    finish(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"
    world.write_below(tmp_path / "a")
    settle(world)
    assert (world.status("CorpusBuild", "c")["phase"], world.jobs()) == ("Refused", [])


def test_progress_is_shown_while_it_runs_and_that_of_a_former_recipe_is_not(world: World) -> None:
    world.built(OTHER)
    settle(world)
    world.pods_start()
    assert look(world) == 10
    assert "progress" not in world.status("CorpusBuild", "c")
    world.built(RECIPE)
    look(world)
    assert world.status("CorpusBuild", "c")["progress"]["stepsDone"] == 5


@pytest.mark.parametrize("begun", [False, True])
def test_a_store_that_cannot_be_read_is_told_at_once(world: World, begun: bool) -> None:
    (world.folder / "run.json").write_text("no record")
    settle(world)
    if begun:
        world.pods_start()
    look(world)
    ready = world.condition("CorpusBuild", "c", "Ready")
    assert ready["reason"] == "StoreUnread"
    assert "run.json" in ready["message"]


def test_a_suspended_build_has_no_pods_and_goes_on_with_the_same_job(world: World) -> None:
    settle(world)
    world.pods_start()
    world.edit("CorpusBuild", "c", suspend=True)
    settle(world)
    world.pods_start()
    settle(world)
    [job] = world.jobs()
    assert not job["pods"]
    assert world.status("CorpusBuild", "c")["phase"] == "Suspended"
    assert world.condition("CorpusBuild", "c", "Suspended")["status"] == "True"
    world.edit("CorpusBuild", "c", suspend=False)
    finish(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"
    assert world.jobs()[0]["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_changed_recipe_gets_another_job_when_no_pod_of_the_former_is_left(world: World) -> None:
    settle(world)
    world.pods_start()
    former = world.jobs()[0]["metadata"]["uid"]
    world.edit("CorpusBuild", "c", recipe=OTHER)
    settle(world)
    assert [job["metadata"]["uid"] for job in world.jobs()] == [former]
    world.pods_end("Failed")
    settle(world)
    [job] = world.jobs()
    assert job["metadata"]["uid"] != former
    digest = finish(world)
    assert world.status("CorpusBuild", "c")["digest"] == digest


def upgrade(world: World) -> None:
    world.settings = Settings.model_validate({"images": {**IMAGES, "repoloom": "repoloom:2"}})


def test_another_image_replaces_a_job_in_progress_when_its_pods_have_ended(world: World) -> None:
    settle(world)
    world.pods_start()
    upgrade(world)
    settle(world)
    [job] = world.jobs()
    assert image(job) == "repoloom:1"
    assert "deletionTimestamp" in job["metadata"]
    world.pods_end("Failed")
    settle(world)
    assert [image(job) for job in world.jobs()] == ["repoloom:2"]
    finish(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"


def test_a_build_that_is_ready_stays_so_whatever_image_is_next(world: World) -> None:
    finish(world)
    upgrade(world)
    before, writes = world.status("CorpusBuild", "c"), world.writes
    look(world)
    assert (world.status("CorpusBuild", "c"), world.writes) == (before, writes)


def image(job: dict[str, Any]) -> str:
    return str(job["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_build_that_is_ready_takes_over_what_another_run_of_its_recipe_made_since(world: World) -> None:
    first = finish(world)
    world.crawled = "moved"
    run = open_store(str(world.folder))
    second = world.built(RECIPE)
    whole = run.read(PROGRESS)
    world.runs_again()
    assert look(world) == 60
    assert world.status("CorpusBuild", "c")["digest"] == first
    stores.write(run, PROGRESS, whole)
    look(world)
    assert world.status("CorpusBuild", "c")["digest"] == second != first
    assert len(world.jobs()) == 1


def test_a_build_is_ready_again_when_a_wrong_recipe_is_taken_back(world: World) -> None:
    digest = finish(world)
    world.edit("CorpusBuild", "c", recipe=WRONG)
    settle(world)
    assert (world.status("CorpusBuild", "c")["phase"], world.jobs()) == ("Refused", [])
    world.edit("CorpusBuild", "c", recipe=RECIPE)
    settle(world)
    assert (world.status("CorpusBuild", "c")["phase"], world.jobs()) == ("Ready", [])
    assert world.status("CorpusBuild", "c")["digest"] == digest
    assert world.condition("CorpusBuild", "c", "Ready")["status"] == "True"


def test_whether_a_corpus_is_whole_is_said_of_the_recipe_that_it_is_of(world: World) -> None:
    finish(world)
    assert world.condition("CorpusBuild", "c", "Whole")["status"] == "True"
    world.edit("CorpusBuild", "c", recipe=OTHER)
    settle(world)
    assert "Whole" not in [entry["type"] for entry in world.status("CorpusBuild", "c")["conditions"]]


def by_a_pipeline(world: World, recipe: dict[str, Any] = RECIPE) -> str:
    """The stages of a pipeline, which keep no progress, make a corpus."""
    digest = world.built(recipe)
    open_store(str(world.folder)).delete(PROGRESS)
    return digest


def ready(world: World) -> tuple[str, str, str]:
    condition = world.condition("CorpusBuild", "c", "Ready")
    return world.status("CorpusBuild", "c")["phase"], condition["status"], condition["reason"]


def test_a_corpus_that_is_there_is_told_of_as_one_that_was_built_and_nothing_is(world: World) -> None:
    digest = world.built(RECIPE)
    world.edit("CorpusBuild", "c", digest=digest)
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])
    held = world.status("CorpusBuild", "c")
    assert (held["digest"], held["progress"]["state"], held["funnel"][0]["step"]) == (digest, "done", "filter")
    assert world.condition("CorpusBuild", "c", "Whole")["status"] == "True"
    world.advance(60)
    assert look(world) == 60
    assert world.status("CorpusBuild", "c") == held
    world.edit("CorpusBuild", "c", digest=None)
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])


def test_a_corpus_that_is_to_be_there_is_waited_for(world: World) -> None:
    digest = by_a_pipeline(world)
    (world.folder / "run.json").rename(world.folder / "later.json")
    world.edit("CorpusBuild", "c", digest=digest)
    settle(world)
    assert (ready(world), look(world), world.jobs()) == (("Pending", "False", "CorpusMissing"), 10, [])
    (world.folder / "run.json").write_text("no record")
    settle(world)
    assert (ready(world), world.jobs()) == (("Pending", "False", "StoreUnread"), [])
    (world.folder / "later.json").rename(world.folder / "run.json")
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])
    assert world.condition("CorpusBuild", "c", "Whole")["status"] == "Unknown"


def test_a_corpus_that_another_took_the_place_of_is_waited_for_and_never_taken_over(world: World) -> None:
    first = world.built(RECIPE)
    world.edit("CorpusBuild", "c", digest=first)
    settle(world)
    world.runs_again()
    settle(world)
    assert ready(world) == ("Ready", "True", "Built")
    world.crawled = "moved"
    second = world.built(RECIPE)
    settle(world)
    assert (ready(world), world.jobs()) == (("Pending", "False", "CorpusChanged"), [])
    said = world.condition("CorpusBuild", "c", "Ready")["message"]
    assert said.startswith(f"{world.folder} holds the corpus {second}, and {first} is wanted; give spec.digest that")
    assert "digest" not in world.status("CorpusBuild", "c")
    world.edit("CorpusBuild", "c", digest=second)
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])


def test_a_corpus_that_another_recipe_made_is_none_of_this_one(world: World) -> None:
    world.edit("CorpusBuild", "c", digest=by_a_pipeline(world, OTHER))
    settle(world)
    assert (ready(world), world.jobs()) == (("Failed", "False", "RecipeChanged"), [])
    world.edit("CorpusBuild", "c", recipe=OTHER)
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])


def test_a_build_that_is_told_that_its_corpus_is_there_stops(world: World) -> None:
    settle(world)
    world.pods_start()
    world.edit("CorpusBuild", "c", digest=by_a_pipeline(world))
    settle(world)
    world.pods_end("Failed")
    settle(world)
    assert (ready(world), world.jobs()) == (("Ready", "True", "Built"), [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("3 of 4 tasks\nerror: the bucket is gone\n", "error: the bucket is gone"),
        ('3 of 4 tasks\n{"error": {"kind": "InputError", "message": "/a does not exist"}}\n', "/a does not exist"),
        ("Killed\n", "Killed"),
        ("12\n", "12"),
    ],
)
def test_a_failed_build_says_the_pods_last_words_and_how_to_try_again(world: World, words: str, said: str) -> None:
    settle(world)
    world.pods_start()
    labels = world.jobs()[0]["metadata"]["labels"]
    ended = {"terminated": {"exitCode": 1, "message": words}}
    world.put(
        {
            "kind": "Pod",
            "metadata": {"name": "p", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"containerStatuses": [{"state": ended}]},
        }
    )
    world.pods_end("Failed")
    settle(world)
    ready = world.condition("CorpusBuild", "c", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RunFailed")
    assert ready["message"].startswith(f"{said} (exit code 1)\nDelete the Job c-corpus to try again")
    world.remove("Job", "c-corpus")
    finish(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"


def test_a_build_that_gave_tasks_up_is_ready_and_says_so(world: World) -> None:
    settle(world)
    world.pods_start()
    world.built(RECIPE, quarantined=2)
    world.pods_end("Failed")  # by exit code 3
    settle(world)
    assert world.status("CorpusBuild", "c")["phase"] == "Ready"
    assert world.condition("CorpusBuild", "c", "Whole")["reason"] == "Quarantined"


def test_a_deleted_build_ends_when_its_pods_have_and_keeps_its_data(world: World) -> None:
    settle(world)
    world.pods_start()
    world.built(RECIPE)
    world.remove("CorpusBuild", "c")
    settle(world)
    assert ("CorpusBuild", "c") in world.objects
    world.pods_end("Failed")
    settle(world)
    assert ("CorpusBuild", "c") not in world.objects
    assert Progress.read(open_store(str(world.folder)))


MISHAPS = st.sampled_from(
    [
        "look",
        "pods start",
        "pods complete",
        "pods fail",
        "delete job",
        "delete files",
        "edit job",
        "suspend",
        "resume",
        "other recipe",
        "wrong recipe",
        "first recipe",
        "lose status",
        "name a corpus",
        "name none",
    ]
)


def happen(world: World, what: str) -> None:
    match what:
        case "look":
            look(world)
        case "pods start":
            world.pods_start()
        case "pods complete":
            world.built(world.objects["CorpusBuild", "c"]["spec"]["recipe"] if _right(world) else RECIPE)
            world.pods_end("Complete")
        case "pods fail":
            world.pods_end("Failed")
        case "delete job":
            for job in world.jobs():
                world.remove(job["kind"], job["metadata"]["name"])
        case "delete files":
            for config in world.owned("ConfigMap", "c"):
                world.remove("ConfigMap", config["metadata"]["name"])
        case "edit job":
            for job in world.jobs():
                job["spec"]["suspend"] = not job["spec"].get("suspend")
        case "suspend" | "resume":
            world.edit("CorpusBuild", "c", suspend=what == "suspend")
        case "other recipe":
            world.edit("CorpusBuild", "c", recipe=OTHER)
        case "wrong recipe":
            world.edit("CorpusBuild", "c", recipe=WRONG)
        case "first recipe":
            world.edit("CorpusBuild", "c", recipe=RECIPE)
        case "name a corpus" | "name none":
            world.edit("CorpusBuild", "c", digest="sha256:none" if what == "name a corpus" else None)
        case "lose status":
            world.objects["CorpusBuild", "c"].pop("status", None)


def _right(world: World) -> bool:
    return "sede" not in world.objects["CorpusBuild", "c"]["spec"]["recipe"]


STEPS = steps(MISHAPS, 25)


@given(STEPS)
@example(["look", ("meanwhile", "suspend"), ("meanwhile", "delete job")])  # gone between look and patch
def test_whatever_happens_there_are_never_two_jobs_and_it_ends_where_it_should(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = a_world(Path(folder))
        for step in steps:
            named, before = world.objects["CorpusBuild", "c"]["spec"].get("digest"), world.jobs()
            play(world, step, happen)
            assert len(world.jobs()) <= 1
            assert not named or world.jobs() in (before, [])
        for last in ("resume", "name none", "first recipe", "look"):
            happen(world, last)
        happen(world, "delete job")  # one that failed is deleted by a person
        world.pods_end("Failed")
        digest = finish(world)
        status = world.status("CorpusBuild", "c")
        assert (status["phase"], status["digest"]) == ("Ready", digest)
        before = world.writes
        look(world)
        assert world.writes == before
