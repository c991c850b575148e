"""What the API server does not take is told on the resource, and tried again."""

import json
from pathlib import Path

import pytest
import test_corpus_build
from kubernetes.client.exceptions import ApiException
from test_missed_events import WORLDS
from worlds import World

from repoloom_operator.resources import Kind

QUOTA = json.dumps({"kind": "Status", "message": "exceeded quota: gpus"})


def looks(world: World, kind: Kind, name: str) -> None:
    """A few times: its finalizer comes before its job."""
    for _ in range(3):
        world.look(kind, name)


@pytest.mark.parametrize(
    ("kind", "job"), [("CorpusBuild", "Job"), ("TrainingRun", "PyTorchJob"), ("ModelRelease", "Job")]
)
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(403, QUOTA, "exceeded quota: gpus"), (404, "404 page not found\n", "404 page not found"), (422, "", "no reason")],
)
def test_a_job_that_is_not_taken_is_told_once_and_made_when_it_is(
    tmp_path: Path, kind: Kind, job: str, status: int, body: str, said: str
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


def test_a_change_that_is_not_taken_is_told_too(tmp_path: Path) -> None:
    world = test_corpus_build.a_world(tmp_path)
    test_corpus_build.settle(world)
    world.edit("CorpusBuild", "c", suspend=True)
    world.refuses["Job"] = ApiException(status=403, reason="no reason")
    with pytest.raises(ApiException):
        test_corpus_build.look(world)
    assert world.condition("CorpusBuild", "c", "Ready")["reason"] == "PatchRefused"


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
