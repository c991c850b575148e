"""What all online calls have in common: settings in the first message, rows in every one, an answer by tables."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast

import grpc
import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from pydantic import ValidationError

from repoloom.engine.step import P, Params, Step
from repoloom.recipe.model import dotted, explain
from repoloom.recipe.sections import configure, section
from repoloom.rpc.call import in_thread
from repoloom.rpc.errors import FieldError
from repoloom.rpc.online import Job, Stream, run
from repoloom.rpc.room import Room
from repoloom.rpc.service import Service, generated
from repoloom.rpc.tables import messages

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class OnlineCall(Generic[Request, Response]):
    """A call that streams rows in and rows out. What else a request has is for the first one only."""

    field: str  # of a request: its rows
    table: str  # that the work reads them as
    rows: Callable[[Sequence[Any]], pa.RecordBatch]
    begin: Callable[[Request], Job]  # given the first message
    response: type[Response]
    executor: Executor
    room: Room
    weigh: Callable[[pa.RecordBatch], int] = attrgetter("nbytes")  # what a batch takes of it

    async def answer(
        self,
        requests: AsyncIterator[Request],
        context: object,  # noqa: ARG002
    ) -> AsyncGenerator[Response, None]:
        """The answers to a stream of requests; an empty stream has none. Raises InputError and what the work raises."""
        first = await anext(aiter(requests), None)
        if first is None:
            return
        job = await in_thread(self.executor, self.begin, first)  # it may read files
        stream = Stream(self.table, self._checked(first, requests), self._rows, self.room, self.weigh)
        async with contextlib.aclosing(run(job, partial(answer, self.response), self.executor, stream)) as responses:
            async for response in responses:
                yield response

    async def _checked(self, first: Request, rest: AsyncIterator[Request]) -> AsyncIterator[Request]:
        yield first
        async for request in rest:
            for given, _ in request.ListFields():
                if given.name != self.field:
                    raise FieldError(given.name, "is for the first message of a stream only")
            yield request

    def _rows(self, requests: Sequence[Request]) -> pa.RecordBatch:
        return self.rows([row for request in requests for row in getattr(request, self.field)])


def online(
    add: Callable[[Any, grpc.aio.Server], None], name: str, **methods: Callable[..., AsyncIterator[Message]]
) -> Service:
    """A service's online calls; `add` is its `add_…Servicer_to_server`."""
    return generated(add, SimpleNamespace(**methods), dict.fromkeys(methods, f"{name}:online"))


def answer(kind: type[Response], table: str, rows: pa.RecordBatch) -> Response | None:
    """A message with the rows of a table in the field of its name; None where it has no such field."""
    found = kind.DESCRIPTOR.fields_by_name.get(table)
    if found is None or found.message_type is None:
        return None
    return kind(**{table: messages(rows, GetMessageClass(cast("Descriptor", found.message_type)))})


def configured(step: type[Step[P]], given: Struct) -> Step[P]:
    """A step with its share of a stage's section of a recipe, as it was sent. Raises FieldError."""
    values = checked(step.name.partition(".")[0], given)
    return cast("Step[P]", configure(cast("type[Step[Params]]", step), values))


def checked(stage: str, given: Struct) -> dict[str, object]:
    """A stage's section of a recipe, as it was sent. Raises FieldError."""
    model = section(stage)
    try:
        return dict(model.model_validate(values(given)))
    except ValidationError as error:
        where, _, problem = next(explain(error, model, dotted, got=lambda _: "")).partition(": ")
        raise FieldError(f"parameters.{where}", f"{problem}; see `repoloom {stage} --parameters`") from None


def values(given: Struct, field: str = "parameters") -> dict[str, object]:
    """A Struct as Python values; numbers, all doubles there, are integers again where they are whole.

    Raises FieldError for what JSON does not have: an infinite number, or none at all.
    """
    try:
        return {key: _whole(value) for key, value in MessageToDict(given).items()}
    except (ValueError, json_format.Error) as error:
        raise FieldError(field, str(error)) from None


_EXACT = 2**53


def _whole(value: object) -> object:
    match value:
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
        case float() if abs(value) > _EXACT:
            raise ValueError(f"{value:.0f} is beyond 2^53, where Struct's numbers are no longer exact")
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
