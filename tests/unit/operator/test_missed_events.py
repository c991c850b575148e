"""No event of a job ever arrives: what the operator has itself look again must do."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import releases
import test_corpus_build
import trainings
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import World, resource

from repoloom.recipe.progress import PROGRESS
from repoloom.store import open_store
from repoloom_operator.handlers import AT_REST
from repoloom_operator.resources import Kind
from repoloom_operator.settings import TrainingJob


class Deaf:
    """The operator, which hears of its resource alone."""

    def __init__(self, world: World, kind: Kind, name: str) -> None:
        self.world, self.kind, self.name = world, kind, name

    def heard(self) -> None:
        """Looks as after an event of the resource, whose writing of it is one too."""
        before = None
        while before != (before := self._version()) and before:
            self.after = self.world.look(self.kind, self.name)

    def waits(self, happens: Callable[[], object], most: int = 40) -> None:
        """Goes on by timers alone, between which something happens."""
        for _ in range(most):
            happens()
            if self.after in (None, AT_REST):
                return
            self.world.advance(max(self.after, 10))
            self.heard()

    def _version(self) -> str | None:
        found = self.world.objects.get((self.kind, self.name))
        return found and found["metadata"]["resourceVersion"]


WORLDS: dict[Kind, tuple[Callable[[Path], World], str]] = {
    "CorpusBuild": (test_corpus_build.a_world, "c"),
    "TrainingRun": (trainings.a_world, "t"),
    "ModelRelease": (releases.a_world, "r"),
}


@pytest.mark.parametrize("kind", WORLDS)
def test_a_deleted_resource_ends(tmp_path: Path, kind: Kind) -> None:
    make, name = WORLDS[kind]
    world = make(tmp_path)
    operator = Deaf(world, kind, name)
    operator.heard()
    world.pods_start()
    operator.heard()
    assert world.jobs()
    world.remove(kind, name)
    operator.heard()
    operator.waits(lambda: world.pods_end("Failed"))
    assert (kind, name) not in world.objects


def test_a_training_of_what_a_pipeline_made_since_begins_when_its_corpusbuild_has_taken_that_over(
    tmp_path: Path,
) -> None:
    world = test_corpus_build.a_world(tmp_path / "corpus")
    world.edit("CorpusBuild", "c", recipe=trainings.TRAINED)
    test_corpus_build.finish(world)
    build = Deaf(world, "CorpusBuild", "c")
    build.heard()
    world.crawled = "moved"
    made = world.built(trainings.TRAINED)
    open_store(str(world.folder)).delete(PROGRESS)  # the stages of pipelines write none
    pinned = {"name": "c", "digest": made}
    world.put(resource("TrainingRun", "t", corpusRef=pinned, out=str(tmp_path / "out")))
    training = Deaf(world, "TrainingRun", "t")
    training.heard()
    assert world.condition("TrainingRun", "t", "CorpusReady")["reason"] == "CorpusChanged"
    build.waits(lambda: None, most=1)
    training.waits(lambda: None, most=1)
    assert [reason for reason, _ in world.events].count("TakenOver") == 1
    assert world.owned("PyTorchJob", "t")


EDITS = st.lists(st.sampled_from(["suspend", "resume", "resize", "pods start", "pods fail", "time"]), max_size=12)


@settings(max_examples=25)  # each goes through many looks
@given(st.sampled_from(TrainingJob), EDITS)
def test_a_training_ends_whatever_it_was_told_before(job: TrainingJob, edits: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = trainings.a_world(Path(folder), job=job)
        operator = Deaf(world, "TrainingRun", "t")
        for what in edits:
            operator.heard()
            trainings.happen(world, what)
        world.edit("TrainingRun", "t", suspend=False, maxRestarts=1000)
        operator.heard()
        operator.waits(lambda: _trains(world), most=200)
        assert world.status("TrainingRun", "t")["phase"] == "Succeeded"


def _trains(world: World) -> None:
    world.pods_start()
    trainings.trained(world)
    world.pods_end("Succeeded")


RECIPES = st.lists(st.sampled_from(["suspend", "resume", "other recipe", "wrong recipe", "first recipe", "pods start"]))


@settings(max_examples=25)
@given(RECIPES)
def test_a_build_ends_whatever_it_was_told_before(edits: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = test_corpus_build.a_world(Path(folder))
        operator = Deaf(world, "CorpusBuild", "c")
        for what in (*edits, "resume", "first recipe"):
            operator.heard()
            test_corpus_build.happen(world, what)
        operator.heard()
        operator.waits(lambda: test_corpus_build.happen(world, "pods complete") or world.pods_start(), most=10)
        assert world.status("CorpusBuild", "c")["phase"] == "Ready"
