"""Who waits for a job keeps nobody from calling, and a store that does not answer fills no memory."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import NoReturn

import pytest
from google.longrunning.operations_proto_pb2 import GetOperationRequest, Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rpc.probe import served

from repoloom.errors import InputError, UnavailableError
from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.records import JobRequest
from repoloom.jobs.settings import JobSettings
from repoloom.protos.jobs.v1 import jobs_pb2
from repoloom.rpc import operations as batch_face
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import OverloadedError, raised_as_own
from repoloom.rpc.operations import job_services
from repoloom.rpc.settings import ChannelSettings


class Silence:
    """A store that does not answer until the silence is over."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> NoReturn:
        self.asked.set()
        assert self.over.wait(60)
        raise UnavailableError("the store did not answer")


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    silence = Silence()
    monkeypatch.setattr(JobBook, "find", silence)
    monkeypatch.setattr(JobBook, "accept", silence)
    yield silence
    silence.over.set()


def test_a_call_that_waits_for_a_job_takes_no_place_of_those_that_work(tmp_path: Path) -> None:
    store = str(tmp_path)
    request = JobRequest(request_id="one", stage="filter", inputs=(f"{store}/in",), output=f"{store}/out")
    entry = JobBook(store, "filter").accept(request, 1)
    name = f"operations/filter/{id_of(entry)}"
    _, operations = job_services("filter", ("filter",), JobSettings(root=store))  # nobody does the job
    with (
        served(operations, max_calls=1, max_waits=1) as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
        futures.ThreadPoolExecutor(2) as threads,
    ):

        def call(method: str, request: Message) -> Operation:
            path = f"/google.longrunning.Operations/{method}"
            with raised_as_own():
                answer: bytes = channel.unary_unary(path)(request.SerializeToString())
            return Operation.FromString(answer)

        wait = WaitOperationRequest(name=name, timeout=Duration(seconds=5))
        waiting = [threads.submit(call, "WaitOperation", wait) for _ in range(2)]
        (refused,), (admitted,) = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
        with pytest.raises(OverloadedError, match="runs 1 such calls"):
            refused.result()
        assert call("GetOperation", GetOperationRequest(name=name)).name == name
        assert not admitted.done()
        assert not admitted.result().done


def test_a_call_that_is_given_up_has_its_place_until_its_thread_is_done(
    tmp_path: Path, silence: Silence, caplog: pytest.LogCaptureFixture
) -> None:
    _, operations = job_services("filter", ("filter",), JobSettings(root=str(tmp_path)))
    request = GetOperationRequest(name=f"operations/filter/{'0' * 32}").SerializeToString()
    with (
        caplog.at_level(logging.INFO, "repoloom.rpc.access"),
        served(operations, max_calls=1) as server,
        open_channel(ChannelSettings(target=server.address)) as channel,
    ):
        get = channel.unary_unary("/google.longrunning.Operations/GetOperation")
        left = get.future(request)
        assert silence.asked.wait(20)
        left.cancel()
        until = time.monotonic() + 20
        while not caplog.records:  # the call has ended
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(OverloadedError, match="runs 1 such calls"), raised_as_own():
            get(request, timeout=20)


def test_a_request_that_is_too_large_waits_for_no_thread_to_be_refused(
    tmp_path: Path, silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_face, "_THREADS", 1)
    store = str(tmp_path)
    jobs, _ = job_services("crawler", ("crawl",), JobSettings(root=store, local_files=True))
    request = jobs_pb2.StartJobRequest(request_id="one", stage="crawl", output=f"{store}/out")
    request.parameters.update({"sources": [{"kind": "folder", "path": store}]})
    with served(jobs) as server, open_channel(ChannelSettings(target=server.address)) as channel:
        start = channel.unary_unary("/repoloom.jobs.v1.JobsService/StartJob")
        busy = start.future(request.SerializeToString())
        assert silence.asked.wait(20)
        request.inputs.append("x" * (4 << 20))
        with pytest.raises(InputError, match="more than 4 MiB"), raised_as_own():
            start(request.SerializeToString(), timeout=20)
        assert not busy.done()
