import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from repoloom import errors
from repoloom.engine.pool import FatalError
from repoloom.rpc.errors import (
    DETAILS,
    Ending,
    FieldError,
    OverloadedError,
    StatusError,
    TooLargeError,
    ending,
    error_of,
)

CLASSES = [
    errors.InputError,
    errors.CorruptDataError,
    errors.StoreError,
    errors.UnavailableError,
    errors.RepoloomError,
    OverloadedError,
    TooLargeError,
]


def _received(end: Ending, details: str | None = None) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        end.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*end.trailers),
        details=end.message if details is None else details,
    )


@given(st.sampled_from(CLASSES), st.text("abc ßé漢/:'\"%", max_size=60))
def test_an_error_makes_the_round_trip(kind: type[errors.RepoloomError], message: str) -> None:
    back = error_of(_received(ending(kind(message), "r")))
    assert type(back) is kind
    if words := " ".join(message.split()):
        assert str(back) == words


@given(st.sampled_from(list(grpc.StatusCode)).filter(lambda code: code is not grpc.StatusCode.OK))
def test_a_status_makes_the_round_trip(code: grpc.StatusCode) -> None:
    back = error_of(_received(ending(StatusError(code, "why"), "r")))
    assert isinstance(back, StatusError) or code in (grpc.StatusCode.UNAVAILABLE,)
    assert str(back) == "why"
    if isinstance(back, StatusError):
        assert back.code is code


@given(st.text(), st.lists(st.text(max_size=300), max_size=100))
def test_a_status_is_one_short_line_and_fits_into_trailers(message: str, fields: list[str]) -> None:
    class Model(BaseModel):
        model_config = ConfigDict(extra="forbid")

    error: errors.InputError = errors.InputError(message * 100)
    try:
        Model.model_validate(dict.fromkeys(fields, 1))
    except ValidationError as cause:
        error.__cause__ = cause
    end = ending(error, "r" * 64)
    assert end.message.isprintable()
    encoded = sum(1 if 0x20 <= byte <= 0x7E else 3 for byte in end.message.encode())  # gRPC over HTTP/2, Responses
    binary = sum(len(value) * 4 / 3 for _, value in end.trailers if isinstance(value, bytes))
    assert encoded + binary < 7 * 1024


def test_the_fields_of_a_validation_are_named_without_their_values() -> None:
    class Params(BaseModel):
        most: int

    try:
        Params.model_validate({"most": "hunter2"})
    except ValidationError as cause:
        error = errors.InputError("params cannot be used")
        error.__cause__ = cause
    status = status_pb2.Status.FromString(dict(ending(error, "r").trailers)[DETAILS])
    request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(request) for detail in status.details)
    (violation,) = request.field_violations
    assert violation.field == "most"
    assert "valid integer" in violation.description
    assert "hunter2" not in str(status)


def test_an_error_of_a_subclass_is_told_as_what_it_is_a_kind_of() -> None:
    assert ending(FieldError("a.b", "no"), "r").code is grpc.StatusCode.INVALID_ARGUMENT
    assert ending(FatalError("stop"), "r").code is grpc.StatusCode.FAILED_PRECONDITION


def test_only_what_may_succeed_later_is_to_be_tried_again() -> None:
    assert dict(ending(OverloadedError("full", 0.75), "r").trailers)["grpc-retry-pushback-ms"] == "750"
    assert dict(ending(TooLargeError("large"), "r").trailers)["grpc-retry-pushback-ms"] == "-1"
    assert "grpc-retry-pushback-ms" not in dict(ending(errors.InputError("bad"), "r").trailers)


@pytest.mark.parametrize(
    "details", [b"", b"\xff\xff", status_pb2.Status(code=5, message="another").SerializeToString()]
)
def test_details_that_cannot_be_believed_are_left_aside(details: bytes) -> None:
    end = Ending(grpc.StatusCode.UNAVAILABLE, "away", ((DETAILS, details),))
    back = error_of(_received(end))
    assert type(back) is errors.UnavailableError
    assert str(back) == "away"


def test_a_servers_words_cannot_command_the_terminal() -> None:
    back = error_of(_received(Ending(grpc.StatusCode.UNAVAILABLE, "\x1b[2J\nsecond https://a:b@c", ())))
    assert str(back).isprintable()
    assert "a:b@" not in str(back)
