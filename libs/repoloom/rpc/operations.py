"""The batch face of every service: JobsService and google.longrunning.Operations over the book of its jobs."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.longrunning.operations_proto_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    ListOperationsResponse,
    Operation,
    WaitOperationRequest,
)
from google.protobuf import duration_pb2, empty_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pydantic import ValidationError

from repoloom import errors
from repoloom.errors import CorruptDataError, InputError, NotFoundError, RepoloomError
from repoloom.jobs.admission import admit, invalid
from repoloom.jobs.book import ENTRY, ID, Job, JobBook, id_of
from repoloom.jobs.keeper import Keeper
from repoloom.jobs.records import Accepted, Failure, JobRequest, Made, Outcome, Progress
from repoloom.jobs.settings import JobSettings
from repoloom.protos.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from repoloom.rpc.calls import values
from repoloom.rpc.errors import DETAILS, DOMAIN, ending
from repoloom.rpc.service import Handler, Service, generated
from repoloom.rpc.threads import Threads

_LONGEST_REQUEST = 4 << 20  # bytes
_PAGE, _LONGEST_PAGE = 50, 100  # operations
_PAGE_BYTES = 4 << 20  # after which a page ends: each operation says what was asked for
_FILTERS = {"": None, "done=false": False, "done=true": True}
_THREADS = 16
_POLL_SECONDS = 0.5
_LONGEST_WAIT = 20.0  # seconds; a server that drains waits for it
_RETURN_SECONDS = 0.2  # before a call's deadline, so that its answer still arrives


def job_services(service: str, stages: Sequence[str], settings: JobSettings) -> tuple[Service, Service]:
    """The batch face of a service, whose callers need the scope `<service>:batch`. Raises InputError."""
    book = JobBook(settings.root, service)
    keeper = Keeper(book, stages, settings)
    threads = Threads(_THREADS, "jobs")

    @contextlib.asynccontextmanager
    async def life() -> AsyncIterator[None]:
        keeper.start()
        try:
            yield
        finally:
            threads.end()
            await asyncio.to_thread(keeper.stop)

    scope = f"{service}:batch"
    jobs = JobsService(book, stages, settings, keeper, threads)
    methods = Operations(book, threads).methods()
    return (
        generated(jobs_pb2_grpc.add_JobsServiceServicer_to_server, jobs, {"StartJob": scope}, life),
        Service(
            "google.longrunning.Operations",
            methods,
            dict.fromkeys(methods, scope),
            waits=frozenset({Operations.WaitOperation.__name__}),
        ),
    )


class JobsService(jobs_pb2_grpc.JobsServiceServicer):
    """See proto/repoloom/jobs/v1/jobs.proto."""

    def __init__(
        self, book: JobBook, stages: Sequence[str], settings: JobSettings, keeper: Keeper, threads: Threads
    ) -> None:
        self._book = book
        self._stages = stages
        self._settings = settings
        self._keeper = keeper
        self._threads = threads

    async def StartJob(  # noqa: N802
        self,
        request: jobs_pb2.StartJobRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> Operation:
        if request.ByteSize() > _LONGEST_REQUEST:
            raise InputError(f"the request has more than {_LONGEST_REQUEST >> 20} MiB; start several jobs")
        return await self._threads.do(self._start, request)

    def _start(self, message: jobs_pb2.StartJobRequest) -> Operation:
        request = _request(message)
        admit(request, self._stages, self._settings)
        entry = self._book.accept(request, self._settings.open_jobs)
        self._keeper.take_up(entry)
        return _operation(self._book, id_of(entry))


class Operations:
    """The operations are named `operations/<service>/<id>`; the collection is `operations/<service>`."""

    def __init__(self, book: JobBook, threads: Threads) -> None:
        self._book = book
        self._threads = threads

    def methods(self) -> dict[str, Handler]:
        """Its methods; the code that is generated for them is too old to be asked for them."""
        answers: dict[Callable[..., object], tuple[type[Message], type[Message]]] = {
            self.GetOperation: (GetOperationRequest, Operation),
            self.WaitOperation: (WaitOperationRequest, Operation),
            self.ListOperations: (ListOperationsRequest, ListOperationsResponse),
            self.CancelOperation: (CancelOperationRequest, empty_pb2.Empty),
            self.DeleteOperation: (DeleteOperationRequest, empty_pb2.Empty),
        }
        return {
            answer.__name__: grpc.unary_unary_rpc_method_handler(answer, request.FromString, response.SerializeToString)
            for answer, (request, response) in answers.items()
        }

    async def GetOperation(  # noqa: N802
        self,
        request: GetOperationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> Operation:
        return await self._threads.do(_operation, self._book, _id(self._book, request.name))

    async def WaitOperation(  # noqa: N802
        self, request: WaitOperationRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Operation:
        job = _id(self._book, request.name)
        remaining = (context.time_remaining() or math.inf) - _RETURN_SECONDS
        until = time.monotonic() + min(_timeout(request), _LONGEST_WAIT, remaining)
        while True:
            operation = await self._threads.do(_operation, self._book, job)
            left = until - time.monotonic()
            if operation.done or left <= 0:
                return operation
            await asyncio.sleep(min(_POLL_SECONDS, left))

    async def ListOperations(  # noqa: N802
        self,
        request: ListOperationsRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> ListOperationsResponse:
        return await self._threads.do(self._page, request)

    async def CancelOperation(  # noqa: N802
        self,
        request: CancelOperationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> empty_pb2.Empty:
        await self._threads.do(self._book.cancel, _id(self._book, request.name))
        return empty_pb2.Empty()

    async def DeleteOperation(  # noqa: N802
        self,
        request: DeleteOperationRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> empty_pb2.Empty:
        await self._threads.do(self._book.delete, _id(self._book, request.name))
        return empty_pb2.Empty()

    def _page(self, request: ListOperationsRequest) -> ListOperationsResponse:
        if request.name not in ("operations", f"operations/{self._book.service}"):
            raise InputError(f"name: {request.name!r} is no collection; list operations/{self._book.service}")
        wanted = request.filter.replace(" ", "")
        if wanted not in _FILTERS:
            raise InputError(f"filter: {request.filter!r} is not known; known are done=false and done=true")
        if request.page_size < 0:
            raise InputError(f"page_size: {request.page_size} is below 0")
        if request.page_token and not ENTRY.fullmatch(request.page_token):
            raise InputError("page_token: it is not one that this service gave")
        size = min(request.page_size or _PAGE, _LONGEST_PAGE)
        done = _FILTERS[wanted]
        response = ListOperationsResponse()
        entries = (
            iter([entry for entry in reversed(self._book.open_entries()) if entry > request.page_token])
            if done is False
            else self._book.entries(request.page_token)
        )
        last = ""
        total = 0
        for entry in entries:
            if len(response.operations) == size or total > _PAGE_BYTES:
                response.next_page_token = last
                break
            last = entry
            operation = self._listed(entry)
            if operation is not None and done in (None, operation.done):
                response.operations.append(operation)
                total += operation.ByteSize()
        return response

    def _listed(self, entry: str) -> Operation | None:
        """An operation of a list; None where it was deleted meanwhile."""
        try:
            if self._book.accepted(entry) is None:
                return None
        except CorruptDataError as error:
            return Operation(name=_name(self._book, id_of(entry)), done=True, error=_status(error))
        try:
            return _operation(self._book, id_of(entry))
        except NotFoundError:
            return None


def _id(book: JobBook, name: str) -> str:
    """The id of a job by the name of its operation. Raises InputError, NotFoundError."""
    collection, _, job = name.rpartition("/")
    if not ID.fullmatch(job) or not re.fullmatch(r"operations/[a-z_]{1,64}", collection):
        raise InputError(f"name: {name[:200]!r} is no name of an operation, such as {_name(book, '0' * 32)}")
    if collection != f"operations/{book.service}":
        raise NotFoundError(f"name: {name!r} is an operation of another service, here is {book.service}")
    return job


def _name(book: JobBook, job: str) -> str:
    return f"operations/{book.service}/{job}"


def _operation(book: JobBook, job: str) -> Operation:
    """A job as an operation. Raises NotFoundError; a job whose record cannot be read has failed by that."""
    operation = Operation(name=_name(book, job))
    try:
        found = book.find(job)
    except CorruptDataError as error:
        operation.done = True
        operation.error.CopyFrom(_status(error))
        return operation
    operation.metadata.Pack(_metadata(found))
    if found.end is not None:
        operation.done = True
        match found.end.outcome:
            case Outcome.SUCCEEDED:
                operation.response.Pack(jobs_pb2.JobResult(datasets=map(_dataset, found.end.datasets)))
            case Outcome.FAILED:
                operation.error.CopyFrom(_failed(found.end.failure))
            case Outcome.CANCELLED:
                operation.error.CopyFrom(_cancelled())
    return operation


def _metadata(job: Job) -> jobs_pb2.JobMetadata:
    progress = job.progress or Progress()
    metadata = jobs_pb2.JobMetadata(
        request=_message(job.accepted),
        step=progress.step,
        steps=progress.steps,
        steps_done=progress.steps_done,
        tasks=progress.tasks,
        tasks_done=progress.done,
        tasks_quarantined=progress.quarantined,
        tasks_reused=progress.reused,
        tasks_per_second=progress.per_second,
        cancel_requested=job.cancel_requested,
        state=_state(job),
    )
    metadata.create_time.FromDatetime(job.accepted.created)
    if job.end is not None:
        metadata.end_time.FromDatetime(job.end.ended)
    elif progress.seconds_left is not None:
        metadata.time_left.CopyFrom(duration_pb2.Duration(seconds=math.ceil(progress.seconds_left)))
    return metadata


def _state(job: Job) -> "jobs_pb2.State.ValueType":
    if job.end is not None:
        return _ENDED[job.end.outcome]
    return jobs_pb2.STATE_QUEUED if job.progress is None else jobs_pb2.STATE_RUNNING


_ENDED = {
    Outcome.SUCCEEDED: jobs_pb2.STATE_SUCCEEDED,
    Outcome.FAILED: jobs_pb2.STATE_FAILED,
    Outcome.CANCELLED: jobs_pb2.STATE_CANCELLED,
}


def _dataset(made: Made) -> jobs_pb2.DatasetRef:
    return jobs_pb2.DatasetRef(**made.model_dump())


def _failed(failure: Failure | None) -> status_pb2.Status:
    if failure is None or not failure.error:
        return status_pb2.Status(code=code_pb2.INTERNAL, message=failure.message if failure else "")
    kind = getattr(errors, failure.error, RepoloomError)
    return _status(kind(failure.message))


def _cancelled() -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.CANCELLED, message="the job was cancelled; what it committed is kept")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="CANCELLED", domain=DOMAIN))
    return status


def _status(error: RepoloomError) -> status_pb2.Status:
    """The status with which a call ends that raises the error."""
    details = dict(ending(error, "").trailers)[DETAILS]
    assert isinstance(details, bytes)
    return status_pb2.Status.FromString(details)


def _request(message: jobs_pb2.StartJobRequest) -> JobRequest:
    """The request of a message. Raises InputError."""
    try:
        return JobRequest.model_validate(
            {
                "request_id": message.request_id,
                "stage": message.stage,
                "inputs": tuple(message.inputs),
                "output": message.output,
                "parameters": values(message.parameters),
                "engine": {"task_bytes": message.engine.task_bytes, "attempts": message.engine.attempts},
                "limits": {"seconds": message.limits.seconds, "memory_bytes": message.limits.memory_bytes},
            }
        )
    except ValidationError as error:
        raise invalid(error, JobRequest) from error


def _message(accepted: Accepted) -> jobs_pb2.StartJobRequest:
    request = accepted.request
    message = jobs_pb2.StartJobRequest(
        request_id=request.request_id,
        stage=request.stage,
        inputs=request.inputs,
        output=request.output,
        engine=jobs_pb2.Engine(**request.engine.model_dump()),
        limits=jobs_pb2.Limits(**request.limits.model_dump()),
    )
    message.parameters.update(dict(request.parameters))
    return message


def _timeout(request: WaitOperationRequest) -> float:
    """Seconds. Raises InputError."""
    if not request.HasField("timeout"):
        return math.inf
    seconds = request.timeout.seconds + request.timeout.nanos / 1_000_000_000
    if seconds < 0:
        raise InputError(f"timeout: {seconds:g} s is below 0")
    return float(seconds)
