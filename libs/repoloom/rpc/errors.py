"""Errors over the wire: each of repoloom's as a google.rpc.Status with details, and back into the same error."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from pydantic import ValidationError

from repoloom.errors import (
    ConflictError,
    CorruptDataError,
    ForbiddenError,
    InputError,
    NotFoundError,
    RepoloomError,
    StoreError,
    TooLargeError,
    UnavailableError,
)
from repoloom.telemetry.redaction import redact
from repoloom.text import visible

D = TypeVar("D", bound=Message)

DOMAIN = "repoloom"
REQUEST_ID = "x-request-id"
DETAILS = "grpc-status-details-bin"  # where gRPC carries a google.rpc.Status
PUSHBACK = "grpc-retry-pushback-ms"  # what gRPC's retries obey (gRFC A6)

# A status travels in trailers, which by default may hold 8 KiB; its message is there twice, once percent-encoded.
_MESSAGE_BYTES = 1000
_VIOLATIONS = 8
_VIOLATION_BYTES = 120


class OverloadedError(UnavailableError):
    """The server has no room for the call now."""

    def __init__(self, message: str, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds  # when to ask again


class FieldError(InputError):
    """One field of a request cannot be used."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class StatusError(RepoloomError):
    """A status that has no error of its own: NOT_FOUND, PERMISSION_DENIED, DEADLINE_EXCEEDED and so on."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class _Kind:
    error: type[RepoloomError]
    code: grpc.StatusCode
    reason: str  # ErrorInfo's: stable, for programs


_KINDS = (  # the special before the general
    _Kind(OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    _Kind(TooLargeError, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
    _Kind(NotFoundError, grpc.StatusCode.NOT_FOUND, "MISSING"),
    _Kind(ForbiddenError, grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
    _Kind(ConflictError, grpc.StatusCode.ALREADY_EXISTS, "CONFLICT"),
    _Kind(InputError, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    _Kind(CorruptDataError, grpc.StatusCode.DATA_LOSS, "CORRUPT_DATA"),
    _Kind(StoreError, grpc.StatusCode.FAILED_PRECONDITION, "STORE_REFUSED"),
    _Kind(UnavailableError, grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    _Kind(RepoloomError, grpc.StatusCode.FAILED_PRECONDITION, "FAILED"),
)
_BY_REASON = {kind.reason: kind.error for kind in _KINDS}
# Of statuses that say no reason of ours: another server's, gRPC's own.
_BY_CODE: Mapping[grpc.StatusCode, type[RepoloomError]] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.INVALID_ARGUMENT: InputError,
    grpc.StatusCode.DATA_LOSS: CorruptDataError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Ending:
    """How a call ends that does not end well."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, str | bytes], ...]


def ending(error: Exception, request_id: str) -> Ending:
    """The status of an error. One that is not repoloom's own says nothing but that it is in the server's log."""
    if isinstance(error, StatusError):
        code, reason = error.code, error.code.name
        message = str(error)
    elif isinstance(error, RepoloomError):
        kind = next(kind for kind in _KINDS if isinstance(error, kind.error))
        code, reason, message = kind.code, kind.reason, str(error)
    else:
        code, reason = grpc.StatusCode.INTERNAL, "INTERNAL"
        message = f"the server failed; its log has the error under request {request_id}"
    message = _line(message, _MESSAGE_BYTES)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
    if violations := _violations(error):
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if isinstance(error, UnavailableError):
        seconds = error.seconds if isinstance(error, OverloadedError) else 1.0
        delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1_000_000_000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        trailers.append((PUSHBACK, str(int(seconds * 1000))))
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        trailers.append((PUSHBACK, "-1"))  # do not try again
    status = status_pb2.Status(code=code.value[0], message=message, details=[_packed(detail) for detail in details])
    return Ending(code, message, (*trailers, (DETAILS, status.SerializeToString())))


@contextlib.contextmanager
def raised_as_own() -> Iterator[None]:
    """Turns what calls inside the block raise, on channels of either kind, into repoloom's errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_of(error) from error


def error_of(error: grpc.RpcError) -> RepoloomError:
    """The error that the status of a call stands for."""
    return _error_of(error.code(), _status(error), error.details() or "")


def error_of_status(status: status_pb2.Status) -> RepoloomError:
    """The error that a status within a message stands for: how an operation ended."""
    return _error_of(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status, "")


def _error_of(code: grpc.StatusCode, status: status_pb2.Status, otherwise: str) -> RepoloomError:
    message = redact(visible(status.message or otherwise or code.name.lower().replace("_", " "), kept=""))
    info = _detail(status, error_details_pb2.ErrorInfo())
    if info.domain == DOMAIN:
        kind = _BY_REASON.get(info.reason)
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:  # the words of gRPC's core
        kind = TooLargeError
    else:
        kind = _BY_CODE.get(code)
    if kind is None:
        return StatusError(code, message)
    if kind is OverloadedError:
        delay = _detail(status, error_details_pb2.RetryInfo()).retry_delay
        return OverloadedError(message, (delay.seconds + delay.nanos / 1_000_000_000) or 1.0)
    return kind(message)


def _violations(error: Exception) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """The fields at fault: those that the error names, or those of the validation that it was raised from."""
    found: list[tuple[str, str]] = []
    if isinstance(error, FieldError):
        found = [(error.field, error.problem)]
    elif isinstance(error, InputError) and isinstance(error.__cause__, ValidationError):
        problems = error.__cause__.errors(include_input=False, include_url=False, include_context=False)
        found = [(".".join(str(at) for at in problem["loc"]), problem["msg"]) for problem in problems]
    return [
        error_details_pb2.BadRequest.FieldViolation(
            field=_line(field, _VIOLATION_BYTES), description=_line(problem, _VIOLATION_BYTES)
        )
        for field, problem in found[:_VIOLATIONS]
    ]


def _line(text: str, limit: int) -> str:
    """One line of UTF-8 with no secret in it, cut to a number of bytes."""
    line = visible(redact(" ".join(text.split())), kept="").encode("utf-8", "backslashreplace")
    return line.decode() if len(line) <= limit else line[: limit - 3].decode("utf-8", "ignore") + "…"


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _status(error: grpc.RpcError) -> status_pb2.Status:
    """What the server said in full; empty where it said nothing that can be read or that fits the code."""
    for name, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if name == DETAILS and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):
                status = status_pb2.Status.FromString(value)
                if _CODES.get(status.code) is error.code():
                    return status
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: D) -> D:
    """The detail of a kind; empty where there is none."""
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            with contextlib.suppress(DecodeError):
                detail.Unpack(kind)
                break
    return kind
