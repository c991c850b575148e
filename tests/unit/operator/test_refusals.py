"""What the API server does not take is told on the resource, and tried again."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import releases
import test_corpus_build
from kubernetes.client.exceptions import ApiException
from test_missed_events import WORLDS
from worlds import World, answer

from repoloom_operator.resources import Kind

QUOTA = json.dumps({"kind": "Status", "message": "exceeded quota: gpus"}).encode()


def looks(world: World, kind: Kind, name: str) -> None:
    """A few times: its finalizer comes before its job."""
    for _ in range(3):
        world.look(kind, name)


@pytest.mark.parametrize(
    ("kind", "job"), [("CorpusBuild", "Job"), ("TrainingRun", "PyTorchJob"), ("ModelRelease", "Job")]
)
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, QUOTA, "exceeded quota: gpus"),
        (403, b"blocked by a proxy\n", ": blocked by a proxy"),
        (404, b"404 page not found\n", ": 404 page not found"),
        (404, b'{"message": "namespaces not found"}', ": namespaces not found"),
        (422, b"", "no reason"),
    ],
)
def test_a_job_that_is_not_taken_is_told_once_and_made_when_it_is(
    tmp_path: Path, kind: Kind, job: str, status: int, body: bytes, said: str
) -> None:
    make, name = WORLDS[kind]
    world = make(tmp_path)
    world.refuses[job] = ApiException(status=status, reason="no reason")
    world.refuses[job].body = body
    for _ in range(4):
        with pytest.raises(ApiException):
            looks(world, kind, name)
    ready = world.condition(kind, name, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "CreateRefused")
    assert said in ready["message"]
    assert job in ready["message"]
    assert world.status(kind, name)["phase"] == "Pending"
    assert [reason for reason, _ in world.events].count("CreateRefused") == 1
    world.refuses.clear()
    world.settle(kind, name)
    assert world.condition(kind, name, "Ready")["reason"] != "CreateRefused"
    assert len(world.jobs()) == 1


def test_where_kubeflow_is_lacking_that_is_said_of_a_training_and_of_no_job(tmp_path: Path) -> None:
    said = {}
    for kind, job in (("CorpusBuild", "Job"), ("TrainingRun", "PyTorchJob")):
        make, name = WORLDS[kind]
        world = make(tmp_path / kind)
        world.refuses[job] = ApiException(status=404)
        world.refuses[job].body = b"404 page not found"
        with pytest.raises(ApiException):
            looks(world, kind, name)
        said[kind] = world.condition(kind, name, "Ready")["message"]
    assert "pytorchjobs.kubeflow.org are Kubeflow's" in said["TrainingRun"]
    assert "Kubeflow" not in said["CorpusBuild"]


def test_a_change_that_is_not_taken_is_told_too(tmp_path: Path) -> None:
    world = test_corpus_build.a_world(tmp_path)
    test_corpus_build.settle(world)
    world.edit("CorpusBuild", "c", suspend=True)
    world.refuses["Job"] = ApiException(status=403, reason="no reason")
    with pytest.raises(ApiException):
        test_corpus_build.look(world)
    assert world.condition("CorpusBuild", "c", "Ready")["reason"] == "PatchRefused"


def canary_held(world: World) -> None:
    releases.measured(world)
    releases.serve(world)
    releases.settle(world)
    world.advance(60)


def canary_broke(world: World) -> None:
    releases.measured(world)
    releases.serve(world, broken=("web-canary",))


def replicas_serve(world: World) -> None:
    releases.rolling_out(world)
    releases.serve(world)


@pytest.mark.parametrize(
    ("until", "phase"),
    [
        (releases.evaluated, "Released"),
        (canary_held, "Released"),
        (replicas_serve, "Released"),
        (canary_broke, "RolledBack"),
    ],
)
def test_a_deployment_that_may_not_be_changed_is_told_of_until_it_may(
    tmp_path: Path, until: Callable[[World], None], phase: str
) -> None:
    world = releases.a_world(tmp_path)
    until(world)
    world.refuses["Deployment"] = ApiException(status=422, reason="may not be specified when value is not empty")

    def looks() -> None:
        for _ in range(4):
            with suppress(ApiException):
                releases.look(world)

    looks()
    ready = world.condition("ModelRelease", "r", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PatchRefused")
    assert "may not be specified when value is not empty" in ready["message"]
    before = world.status("ModelRelease", "r"), [*world.events]
    looks()
    assert (world.status("ModelRelease", "r"), world.events) == before
    world.refuses.clear()
    for _ in range(5):
        releases.settle(world)
        releases.serve(world, broken=("web-canary",) if phase == "RolledBack" else ())
        world.advance(60)
    assert releases.phase(world) == phase
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == phase


def test_the_end_of_a_release_is_told_again_though_its_training_is_gone(tmp_path: Path) -> None:
    world = releases.a_world(tmp_path)
    replicas_serve(world)
    world.refuses["Deployment"] = ApiException(status=403, reason="frozen")
    for _ in range(3):
        with suppress(ApiException):
            releases.look(world)
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "PatchRefused"
    world.refuses.clear()
    del world.objects["TrainingRun", "t"]
    releases.settle(world)
    assert world.condition("ModelRelease", "r", "Ready")["reason"] == "Released"


def test_a_server_that_is_ill_refuses_nothing(tmp_path: Path) -> None:
    world = test_corpus_build.a_world(tmp_path)
    world.refuses["Job"] = ApiException(status=503, reason="ill")
    for _ in range(2):
        with pytest.raises(ApiException):
            looks(world, "CorpusBuild", "c")
    assert "conditions" not in world.status("CorpusBuild", "c")


@pytest.mark.parametrize("kind", WORLDS)
def test_a_job_that_lost_its_labels_is_told_of_until_it_is_gone(tmp_path: Path, kind: Kind) -> None:
    make, name = WORLDS[kind]
    world = make(tmp_path)
    world.settle(kind, name)
    [job] = world.jobs()
    labels = job["metadata"].pop("labels")
    looks(world, kind, name)
    before = [*world.events]
    assert (world.look(kind, name), world.events) == (10, before)
    ready = world.condition(kind, name, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NameTaken")
    assert ready["message"].startswith(f"there is a {job['kind']} {job['metadata']['name']}")
    world.remove(job["kind"], job["metadata"]["name"])
    world.settle(kind, name)
    assert world.jobs()[0]["metadata"]["labels"] == labels
    assert world.condition(kind, name, "Ready")["reason"] != "NameTaken"


@pytest.mark.parametrize("kind", WORLDS)
def test_a_file_of_its_own_that_is_about_to_end_is_waited_for_and_told_of_by_nothing(
    tmp_path: Path, kind: Kind
) -> None:
    make, name = WORLDS[kind]
    world = make(tmp_path)
    world.settle(kind, name)
    [file] = world.owned("ConfigMap", name)
    file["metadata"]["finalizers"] = ["foregroundDeletion"]
    world.remove("ConfigMap", file["metadata"]["name"])
    before = [*world.events]
    assert (world.look(kind, name), world.events) == (10, before)
    assert world.condition(kind, name, "Ready")["reason"] != "NameTaken"
    del world.objects["ConfigMap", file["metadata"]["name"]]
    world.settle(kind, name)
    assert world.owned("ConfigMap", name)


@pytest.mark.parametrize(
    ("kind", "job"), [("CorpusBuild", "Job"), ("TrainingRun", "PyTorchJob"), ("ModelRelease", "Job")]
)
def test_a_quota_that_others_write_to_at_once_is_asked_again_and_told_of_by_nothing(
    tmp_path: Path, kind: Kind, job: str
) -> None:
    make, name = WORLDS[kind]
    world = make(tmp_path)
    world.refuses[job] = answer(409, "Conflict", "Operation cannot be fulfilled on resourcequotas")
    looks(world, kind, name)
    assert world.look(kind, name) == 10
    assert not {"NameTaken", "CreateRefused"} & {reason for reason, _ in world.events}
    assert not world.jobs()
    world.refuses.clear()
    world.settle(kind, name)
    assert len(world.jobs()) == 1


def test_a_name_that_was_freed_meanwhile_is_told_of_by_nothing(tmp_path: Path) -> None:
    world = test_corpus_build.a_world(tmp_path)
    world.refuses["ConfigMap"] = answer(409, "AlreadyExists")
    looks(world, "CorpusBuild", "c")
    assert not world.events
