"""Jobs as their callers see them: started, got, waited for, listed, cancelled, deleted."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from fleet import eventually
from google.rpc import code_pb2
from probing import committed, verify_commits
from replica import Replica, last_digest, metadata, request, result

from repoloom.corpus.dataset import Dataset
from repoloom.protos.jobs.v1 import jobs_pb2

HANG = {"bad": {"probe/003": "hang"}}


def _refused(code: grpc.StatusCode, call: Callable[[], object]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code, caught.value
    return str(caught.value.details())


def test_a_job_makes_what_run_stage_makes(shared: Replica, undisturbed: Callable[..., str]) -> None:
    started = shared.start("makes", repositories=5)
    assert metadata(started).request.parameters["repositories"] == 5
    ended = shared.wait(started.name)
    made, copied = result(ended).datasets
    assert (made.step, copied.step) == ("probe.make", "probe.copy")
    assert copied.uri == f"{shared.root}/makes/probe.copy"
    assert copied.digest == Dataset.open(copied.uri).digest == undisturbed(repositories=5)
    assert dict(copied.rows) == {"files": 10, "dropped": 5}
    stands = metadata(ended)
    assert stands.state == jobs_pb2.STATE_SUCCEEDED
    assert (stands.steps, stands.steps_done, stands.tasks, stands.tasks_done) == (2, 2, 5, 5)
    assert stands.create_time.ToDatetime() < stands.end_time.ToDatetime()
    assert shared.get(started.name) == ended


def test_the_same_request_is_the_same_job_and_another_one_is_refused(shared: Replica) -> None:
    first = shared.start("once", request_id="once", repositories=2)
    ended = shared.wait(first.name)
    assert shared.start("once", request_id="once", repositories=2) == ended
    again = partial(shared.start, "once", request_id="once", repositories=3)
    assert "request_id" in _refused(grpc.StatusCode.ALREADY_EXISTS, again)
    assert [operation.name for operation in shared.list().operations].count(first.name) == 1


def test_an_output_is_one_jobs_until_that_has_ended(shared: Replica) -> None:
    name = shared.start("taken/here", **HANG).name
    for output in ("taken/here", "taken", "taken/here/below"):
        refusal = _refused(grpc.StatusCode.ALREADY_EXISTS, partial(shared.start, output, request_id="second"))
        assert name in refusal
    beside = shared.start("taken/beside").name
    shared.cancel(name)
    assert shared.wait(name).error.code == code_pb2.CANCELLED
    for ended in (beside, shared.start("taken/here", request_id="second").name):
        assert shared.wait(ended).WhichOneof("result") == "response"


def test_a_cancelled_job_stops_and_another_one_goes_on_from_there(
    replica: Callable[..., Replica],
    undisturbed: Callable[..., str],
    root: Path,
    hang: dict[str, object],
    cure: Callable[[], None],
) -> None:
    service = replica()
    name = service.start(**hang).name
    service.until(name, lambda job: job.tasks_done == 7 and job.step == "probe.copy")
    [runner] = service.runners
    workers = runner.children()
    service.cancel(name)
    ended = service.wait(name)
    assert ended.error.code == code_pb2.CANCELLED
    assert metadata(ended).state == jobs_pb2.STATE_CANCELLED
    assert metadata(ended).cancel_requested
    assert not any(worker.is_running() for worker in workers)
    assert not (root / "out/probe.copy/manifest.json").exists()
    assert verify_commits(root / "out") == 8
    kept = committed(root / "out")
    service.cancel(name)  # of a job that has ended this is no error
    cure()
    again = service.wait(service.start(**hang).name)
    assert last_digest(again) == undisturbed(**hang)
    assert kept.items() <= committed(root / "out").items()


def test_jobs_wait_for_a_free_runner_and_can_be_cancelled_there(replica: Callable[..., Replica]) -> None:
    service = replica(runners=1)
    first = service.start("first", **HANG).name
    service.until(first, lambda job: job.state == jobs_pb2.STATE_RUNNING)
    second, third = service.start("second").name, service.start("third").name
    assert metadata(service.get(second)).state == jobs_pb2.STATE_QUEUED
    service.cancel(second)
    assert service.get(second).error.code == code_pb2.CANCELLED
    service.cancel(first)
    assert service.wait(third).WhichOneof("result") == "response"


def test_more_open_jobs_than_the_service_takes_are_refused(replica: Callable[..., Replica]) -> None:
    service = replica(runners=1, open_jobs=2)
    first = service.start("first", request_id="first", **HANG)
    service.start("second")
    assert "2 jobs" in _refused(grpc.StatusCode.UNAVAILABLE, lambda: service.start("third"))
    assert service.start("first", request_id="first", **HANG).name == first.name


def test_a_list_has_the_newest_first_and_comes_in_pages(replica: Callable[..., Replica]) -> None:
    service = replica(runners=1)
    names = [service.start("first", **HANG).name] + [service.start(f"{number}").name for number in range(4)]
    service.cancel(names[2])
    listed, token = [], ""
    while True:
        page = service.list(name="operations/probe", page_size=2, page_token=token)
        listed += [operation.name for operation in page.operations]
        token = page.next_page_token
        if not token:
            break
    assert listed == names[::-1]
    assert [operation.name for operation in service.list(filter="done = true").operations] == [names[2]]
    still = [operation.name for operation in service.list(filter="done=false").operations]
    assert still == [name for name in listed if name != names[2]]


def test_records_that_were_kept_long_enough_are_swept_and_what_is_open_goes_on(
    replica: Callable[..., Replica], root: Path
) -> None:
    first = replica()
    ended, running = first.start("ended").name, first.start("running", **HANG).name
    digest = last_digest(first.wait(ended))
    first.until(running, lambda job: job.tasks_done == 7)
    second = replica(retention_days=1e-9)
    eventually(lambda: [operation.name for operation in second.list().operations] == [running])
    _refused(grpc.StatusCode.NOT_FOUND, lambda: second.get(ended))
    assert metadata(second.get(running)).state == jobs_pb2.STATE_RUNNING
    assert Dataset.open(f"{root}/ended/probe.copy").digest == digest


def test_a_deleted_job_is_gone_and_what_it_made_is_not(shared: Replica) -> None:
    running = shared.start("running", **HANG).name
    assert "cancel" in _refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: shared.delete(running))
    name = shared.start("deleted", request_id="again").name
    digest = last_digest(shared.wait(name))
    shared.delete(name)
    for call in (shared.get, shared.cancel, shared.delete, shared.wait):
        _refused(grpc.StatusCode.NOT_FOUND, lambda call=call: call(name))
    listed = [operation.name for operation in shared.list(page_size=100).operations]
    assert running in listed
    assert name not in listed
    shared.cancel(running)
    assert Dataset.open(f"{shared.root}/deleted/probe.copy").digest == digest
    assert shared.start("deleted", request_id="again").name == name  # it may come again, and finds the work done
    again = shared.wait(name)
    assert metadata(again).tasks_reused == metadata(again).tasks
    assert last_digest(again) == digest


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"request_id": "a/b"}, grpc.StatusCode.INVALID_ARGUMENT, "request_id"),
        ({"stage": "filter"}, grpc.StatusCode.INVALID_ARGUMENT, "stage"),
        ({"output": "/tmp"}, grpc.StatusCode.PERMISSION_DENIED, "output"),
        ({"output": "{root}/../out"}, grpc.StatusCode.PERMISSION_DENIED, "output"),
        ({"output": "{root}/.jobs/probe"}, grpc.StatusCode.PERMISSION_DENIED, "output"),
        ({"inputs": ["s3://other/data"]}, grpc.StatusCode.PERMISSION_DENIED, "inputs.0"),
        ({"inputs": ["{root}/nothing"]}, grpc.StatusCode.NOT_FOUND, "inputs.0"),
        ({"parameters": {"repositories": "many"}}, grpc.StatusCode.INVALID_ARGUMENT, "parameters.repositories"),
        ({"parameters": {"repositories": 1.5}}, grpc.StatusCode.INVALID_ARGUMENT, "parameters.repositories"),
        ({"parameters": {"nothing": 1}}, grpc.StatusCode.INVALID_ARGUMENT, "parameters.nothing"),
        ({"parameters": {"size": float("nan")}}, grpc.StatusCode.INVALID_ARGUMENT, "parameters"),
        ({"engine": {"task_bytes": -1}}, grpc.StatusCode.INVALID_ARGUMENT, "engine.task_bytes"),
        ({"limits": {"memory_bytes": 1}}, grpc.StatusCode.INVALID_ARGUMENT, "limits.memory_bytes"),
        ({"limits": {"seconds": 1e9}}, grpc.StatusCode.INVALID_ARGUMENT, "limits"),
    ],
)
def test_a_hostile_request_is_refused_by_its_field(
    shared: Replica, fields: dict[str, Any], code: grpc.StatusCode, says: str
) -> None:
    root = shared.root
    message = request(root)
    parameters = fields.pop("parameters", {})
    message.parameters.update(parameters)
    for name, value in fields.items():
        filled = [uri.format(root=root) for uri in value] if name == "inputs" else value
        filled = value.format(root=root) if name == "output" else filled
        field = jobs_pb2.StartJobRequest(**{name: filled})
        message.ClearField(name)
        message.MergeFrom(field)
    assert says in _refused(code, lambda: shared.send(message))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("operations/probe/../../etc", grpc.StatusCode.INVALID_ARGUMENT),
        ("operations/probe/" + "A" * 32, grpc.StatusCode.INVALID_ARGUMENT),
        ("operations/probe/" + "a" * 32, grpc.StatusCode.NOT_FOUND),
        ("operations/filter/" + "a" * 32, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_names_are_checked(shared: Replica, name: str, code: grpc.StatusCode) -> None:
    for call in (shared.get, shared.cancel, shared.delete, shared.wait):
        _refused(code, lambda call=call: call(name))


@pytest.mark.parametrize("fields", [{"name": "things"}, {"filter": "done"}, {"page_size": -1}, {"page_token": "../x"}])
def test_what_lists_are_asked_is_checked(shared: Replica, fields: dict[str, Any]) -> None:
    _refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: shared.list(**fields))
