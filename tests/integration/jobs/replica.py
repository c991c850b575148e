"""One replica of a service, as its clients and its killers see it."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import psutil
from fleet import EXTRA_STAGES, eventually, free_port
from google.longrunning import operations_pb2_grpc
from google.longrunning.operations_proto_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    ListOperationsResponse,
    Operation,
    WaitOperationRequest,
)
from google.protobuf.duration_pb2 import Duration

from repoloom.protos.jobs.v1.jobs_pb2 import Engine, JobMetadata, JobResult, StartJobRequest
from repoloom.protos.jobs.v1.jobs_pb2_grpc import JobsServiceStub

_SETTINGS = {"workers": 2, "beat_seconds": 0.2, "silence_seconds": 3}
_A_MOMENT = Duration(nanos=200_000_000)


class Replica:
    """Serves the stage `probe` from when it is made."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self.root: str = settings["root"]
        address = f"127.0.0.1:{free_port()}"
        wanted = {"address": address, "stages": ["probe"], "settings": {**_SETTINGS, **settings}}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "jobs_service.py"), json.dumps(wanted)],
            env={**os.environ, "PYTHONPATH": str(EXTRA_STAGES), **(environment or {})},
        )
        self._channel = grpc.insecure_channel(address)
        ready = grpc.channel_ready_future(self._channel)
        eventually(lambda: bool(ready.done()) or self.process.poll() is not None)
        assert self.process.poll() is None
        self._jobs = JobsServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._channel.close()
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it in order."""
        self._channel.close()
        self.process.terminate()
        assert self.process.wait(60) == 0

    @property
    def runners(self) -> list[psutil.Process]:
        """The processes of its runners."""
        return psutil.Process(self.process.pid).children()

    def start(self, output: str = "out", request_id: str = "", **parameters: Any) -> Operation:
        """Starts the stage `probe`, one repository a task, with its output below the root."""
        return self.send(request(self.root, output, request_id, **parameters))

    def send(self, message: StartJobRequest) -> Operation:
        return self._ready(self._jobs.StartJob, message)

    def get(self, name: str) -> Operation:
        return self._ready(self._operations.GetOperation, GetOperationRequest(name=name))

    def wait(self, name: str, seconds: int = 120) -> Operation:
        """Waits for the end; a call waits only for so long, so it is called again."""
        for _ in range(seconds):
            operation = self._wait(name, Duration(seconds=seconds))
            if operation.done:
                return operation
        raise TimeoutError(str(operation))

    def list(self, **fields: Any) -> ListOperationsResponse:
        return self._ready(self._operations.ListOperations, ListOperationsRequest(**{"name": "operations", **fields}))

    def cancel(self, name: str) -> None:
        self._ready(self._operations.CancelOperation, CancelOperationRequest(name=name))

    def delete(self, name: str) -> None:
        self._ready(self._operations.DeleteOperation, DeleteOperationRequest(name=name))

    def until(self, name: str, holds: Callable[[JobMetadata], bool]) -> JobMetadata:
        """Waits until something holds of a job, which is looked at so often that it costs the job no time."""
        eventually(lambda: holds(metadata(self._wait(name, _A_MOMENT))))
        return metadata(self.get(name))

    def _wait(self, name: str, timeout: Duration) -> Operation:
        return self._ready(self._operations.WaitOperation, WaitOperationRequest(name=name, timeout=timeout))

    def _ready(self, call: Any, message: Any) -> Any:
        return call(message, timeout=60, wait_for_ready=True)


def request(root: str, output: str = "out", request_id: str = "", **parameters: Any) -> StartJobRequest:
    """A request for the stage `probe`."""
    message = StartJobRequest(
        request_id=request_id or uuid.uuid4().hex,
        stage="probe",
        output=f"{root}/{output}",
        engine=Engine(task_bytes=1),
    )
    message.parameters.update(parameters)
    return message


def metadata(operation: Operation) -> JobMetadata:
    found = JobMetadata()
    assert operation.metadata.Unpack(found)
    return found


def result(operation: Operation) -> JobResult:
    found = JobResult()
    assert operation.WhichOneof("result") == "response", operation
    assert operation.response.Unpack(found)
    return found


def last_digest(operation: Operation) -> str:
    """The digest of what a job made."""
    return result(operation).datasets[-1].digest
