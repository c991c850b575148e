"""What the clients of all services have in common: a channel, and batch jobs."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from repoloom.client.operation import Operation
from repoloom.client.streaming import byte_size, chunks, stream, with_settings
from repoloom.protos.jobs.v1.jobs_pb2 import Engine, Limits, StartJobRequest
from repoloom.protos.jobs.v1.jobs_pb2_grpc import JobsServiceStub
from repoloom.rpc.catalog import Name
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import raised_as_own
from repoloom.rpc.settings import ChannelSettings, from_environment

T = TypeVar("T")

_OPERATIONS = "google.longrunning.Operations"
_IDEMPOTENT = (
    "repoloom.jobs.v1.JobsService/StartJob",  # by its request id
    *(f"{_OPERATIONS}/{method}" for method in ("GetOperation", "WaitOperation", "ListOperations", "CancelOperation")),
)


class ServiceClient:
    """A client of one service. Use it in a `with` block, or close it."""

    name: ClassVar[Name]
    stage: ClassVar[str]  # of those that the service runs as batch jobs, the usual one

    def __init__(self, target: str | ChannelSettings, *, stream_seconds: float = 3600) -> None:
        """`target` is host:port; what else a channel needs is REPOLOOM_CLIENT_CA_FILE, _TOKEN_FILE and so on."""
        if isinstance(target, str):
            target = from_environment(ChannelSettings, "REPOLOOM_CLIENT", os.environ, target=target)
        self._seconds = stream_seconds  # the longest that an online call may take
        online = f"repoloom.{self.name}.v1.{self.name.title().replace('_', '')}Service"  # it answers, and keeps nothing
        self._channel = open_channel(target, (*_IDEMPOTENT, online))
        self._jobs = JobsServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    def start(
        self,
        *,
        inputs: Iterable[str],
        output: str,
        parameters: Mapping[str, Any] | None = None,
        stage: str | None = None,
        task_bytes: int = 0,
        attempts: int = 0,
        seconds: float = 0,
        memory_bytes: int = 0,
        request_id: str | None = None,
    ) -> Operation:
        """Starts a stage over datasets. 0 stands for a default; see jobs.proto for what each means.

        The same `request_id` again gives the same operation, whatever became of the first answer.
        """
        request = StartJobRequest(
            request_id=request_id or uuid.uuid4().hex,
            stage=stage or self.stage,
            inputs=inputs,
            output=output,
            parameters=struct(parameters or {}),
            engine=Engine(task_bytes=task_bytes, attempts=attempts),
            limits=Limits(seconds=seconds, memory_bytes=memory_bytes),
        )
        with raised_as_own():
            return Operation(self._operations, self._jobs.StartJob(request))

    def operation(self, name: str) -> Operation:
        """A job that was started earlier, here or elsewhere."""
        with raised_as_own():
            return Operation(
                self._operations, self._operations.GetOperation(operations_pb2.GetOperationRequest(name=name))
            )

    def operations(self) -> Iterator[Operation]:
        """The service's jobs."""
        page = ""
        while True:
            request = operations_pb2.ListOperationsRequest(name=f"operations/{self.name}", page_token=page)
            with raised_as_own():
                response = self._operations.ListOperations(request)
            yield from (Operation(self._operations, operation) for operation in response.operations)
            if not (page := response.next_page_token):
                return

    def _call(
        self,
        method: Callable[..., Iterable[Message]],
        request: type[Message],
        field: str,
        rows: Iterable[T],
        *,
        size: Callable[[T], int] = byte_size,
        **settings: Any,  # noqa: ANN401
    ) -> Iterator[Any]:
        """The rows that come back for rows, which are sent in a field of as many requests as they need."""
        requests = (request(**{field: some}) for some in chunks(rows, size))
        return stream(method, with_settings(requests, **settings), self._seconds)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def struct(values: Mapping[str, Any]) -> Struct:
    """A mapping as a message."""
    message = Struct()
    message.update(values)
    return message
