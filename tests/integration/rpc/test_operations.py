"""Who waits for a job keeps nobody from calling."""

from concurrent import futures
from pathlib import Path

import pytest
from google.longrunning.operations_proto_pb2 import GetOperationRequest, Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rpc.probe import served

from repoloom.jobs.book import JobBook, id_of
from repoloom.jobs.records import JobRequest
from repoloom.jobs.settings import JobSettings
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import OverloadedError, raised_as_own
from repoloom.rpc.operations import job_services
from repoloom.rpc.settings import ChannelSettings


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
