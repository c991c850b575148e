"""The operator may do what it does, and no more: its Role has a verb for each call that it makes, and none besides."""

from pathlib import Path

import releases
import test_corpus_build
import trainings
import yaml
from worlds import World

from repoloom_operator.api import APIS
from repoloom_operator.children import JOB_KINDS
from repoloom_operator.resources import PLURALS
from repoloom_operator.settings import TrainingJob

RULES = Path(__file__).parents[3] / "charts/repoloom/files/operator-rules.yaml"


def test_the_role_has_the_calls_that_are_made_and_no_other(tmp_path: Path) -> None:
    made = {(verb, kind) for world in lives(tmp_path) for verb, kind in world.calls}
    made |= {(verb, kind) for kind in (*PLURALS, *JOB_KINDS) for verb in ("list", "watch")}  # kopf's
    needed = set()
    for call, kind in made:
        verb, _, sub = call.partition(" ")
        api = APIS[kind]
        needed.add((api.group, f"{api.plural}/{sub}" if sub else api.plural, verb))
    granted = {
        (group, resource, verb)
        for rule in yaml.safe_load(RULES.read_text())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == needed


def lives(tmp_path: Path) -> list[World]:
    """Worlds in which everything was done that the operator does."""
    build = test_corpus_build.a_world(tmp_path / "build")
    for what in ("look", "look", "suspend", "look", "other recipe", "look"):
        test_corpus_build.happen(build, what)
    test_corpus_build.finish(build)
    build.remove("CorpusBuild", "c")
    test_corpus_build.finish(build)
    trained = []
    for kind in TrainingJob:
        training = trainings.a_world(tmp_path / kind, job=kind)
        for what in ("look", "look", "pods start", "pods fail", "look", "time", "resize", "look", "edit job"):
            trainings.happen(training, what)
        trainings.finish(training)
        training.remove("TrainingRun", "t")
        trainings.settle(training)
        trained.append(training)
    release = releases.a_world(tmp_path / "release")
    releases.settle(release)
    release.remove("Job", "r-evaluate")
    releases.finish(release)
    release.remove("ModelRelease", "r")
    releases.settle(release)
    return [build, *trained, release]
