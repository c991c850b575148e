"""A batch job as its client sees it."""

from collections.abc import Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from repoloom.protos.jobs.v1.jobs_pb2 import JobMetadata, JobResult
from repoloom.rpc.errors import error_of_status, raised_as_own

_WAIT_SECONDS = 20  # of one call; a job may take days


class Operation:
    """A job that was started: where it stands when it was last looked at."""

    def __init__(self, stub: Any, operation: operations_pb2.Operation) -> None:  # noqa: ANN401 - the stub has no types
        self._stub = stub
        self._operation = operation

    @property
    def name(self) -> str:
        """How the service knows it."""
        return str(self._operation.name)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return bool(self._operation.done)

    @property
    def metadata(self) -> JobMetadata:
        """Where it stands."""
        metadata = JobMetadata()
        self._operation.metadata.Unpack(metadata)
        return metadata

    @property
    def result(self) -> JobResult:
        """What it made. Raises what it ended with; ValueError while it goes on."""
        if not self.done:
            raise ValueError(f"{self.name} goes on; wait for it")
        if self._operation.HasField("error"):
            raise error_of_status(self._operation.error)
        result = JobResult()
        self._operation.response.Unpack(result)
        return result

    def refresh(self) -> "Operation":
        """Looks again."""
        with raised_as_own():
            self._operation = self._stub.GetOperation(operations_pb2.GetOperationRequest(name=self.name))
        return self

    def wait(self, watch: Callable[[JobMetadata], None] = lambda _: None, every: float = _WAIT_SECONDS) -> JobResult:
        """Waits for the end, telling `watch` where it stands `every` so many seconds, and returns what it made."""
        while not self.done:
            request = operations_pb2.WaitOperationRequest(name=self.name, timeout=_duration(every))
            with raised_as_own():
                self._operation = self._stub.WaitOperation(request)
            watch(self.metadata)
        return self.result

    def cancel(self) -> None:
        """Asks it to stop; what is committed stays, and starting it again uses that."""
        with raised_as_own():
            self._stub.CancelOperation(operations_pb2.CancelOperationRequest(name=self.name))

    def delete(self) -> None:
        """Removes the record of a job that has ended; what it made stays."""
        with raised_as_own():
            self._stub.DeleteOperation(operations_pb2.DeleteOperationRequest(name=self.name))


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1_000_000_000))
