"""The way of every call: known, admitted, read, answered, ended; the same for all four kinds of method.

Each method is served as a stream either way. So a call is refused before its first message is read, waiting for a
message is bounded in time like everything else, and there is one path to get right.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from repoloom.errors import InputError, TooLargeError
from repoloom.rpc.admission import Admission, Places
from repoloom.rpc.call import Call, entered, forgivable, request_id_of
from repoloom.rpc.callers import ANYONE, Caller, CallersFile
from repoloom.rpc.errors import REQUEST_ID, StatusError, ending
from repoloom.rpc.observing import observed, received, sent
from repoloom.rpc.service import ANY_CALLER, Handler, Service, behaviour
from repoloom.rpc.settings import ServerSettings
from repoloom.rpc.wire import LIGHT_BYTES, check_parts

_logger = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LAST_SECONDS = 5
_UNKNOWN = "unknown"  # in place of names that clients choose, of which metrics would be full

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[bytes, bytes]
else:  # generic in the stubs alone
    Context = grpc.aio.ServicerContext


@dataclass(frozen=True)
class _Route:
    service: str
    method: str
    scope: str
    handler: Handler | None  # None: there is no such method
    places: Places


class Dispatcher(grpc.GenericRpcHandler):
    """Finds the method of a call and answers it."""

    def __init__(
        self, services: Iterable[Service], settings: ServerSettings, callers: CallersFile | None, admission: Admission
    ) -> None:
        self._settings = settings
        self._callers = callers
        self._admission = admission
        self._counting = asyncio.Lock()  # one message at a time: the threads that count take turns with the event loop
        work, waits = (Places(most, settings.caller_share) for most in (settings.max_calls, settings.max_waits))
        self._unknown = self._handler(_Route(_UNKNOWN, _UNKNOWN, ANY_CALLER, None, work))
        self._handlers = {
            f"/{service.name}/{method}": self._handler(
                _Route(
                    service.name, method, service.scopes[method], handler, waits if method in service.waits else work
                )
            )
            for service in services
            for method, handler in service.methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        return self._handlers.get(str(handler_call_details.method), self._unknown)

    def _handler(self, route: _Route) -> Handler:
        return grpc.stream_stream_rpc_method_handler(functools.partial(self._serve, route))

    async def _serve(self, route: _Route, _: object, context: Context) -> None:
        """Answers one call and ends it with its status."""
        metadata = context.invocation_metadata() or ()
        limit = min(context.time_remaining() or self._settings.call_seconds, self._settings.call_seconds)
        call = Call(
            service=route.service,
            method=route.method,
            request_id=request_id_of(metadata),
            peer=context.peer(),
            deadline=time.monotonic() + limit,
        )
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        with entered(call), observed(call, metadata):
            try:
                async with _within(limit, f"the call was not done after {limit:g} s"):
                    await self._answer(route, call, context)
                call.code = _code(context)
            except grpc.aio.AbortError:  # the method ended the call itself
                call.code = _code(context)
                raise
            except asyncio.CancelledError:
                call.code = grpc.StatusCode.CANCELLED if call.remaining else grpc.StatusCode.DEADLINE_EXCEEDED
                raise
            except Exception as error:  # whatever a method meets becomes a status
                end = ending(error, call.request_id)
                call.code = end.code
                if end.code is grpc.StatusCode.INTERNAL:
                    _logger.exception("%s/%s failed", route.service, route.method)
                if not await _is_sent(call):  # grpc.aio can end no such call: it lingers until its connection ends
                    raise asyncio.CancelledError from error
                await context.abort(end.code, end.message, end.trailers)

    async def _answer(self, route: _Route, call: Call, context: Context) -> None:
        call.caller = self._known(route, context)
        if route.handler is None:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, "the server has no such method")
        with self._admission.admitted(), self._placed(route, call):
            async with contextlib.aclosing(self._requests(route.handler, call, context)) as requests:
                answer = behaviour(route.handler)
                request = requests if route.handler.request_streaming else await _only(requests)
                if not route.handler.response_streaming:
                    await self._send(route.handler, call, context, await answer(request, context))
                    return
                async with contextlib.aclosing(answer(request, context)) as responses:
                    async for response in responses:
                        await self._send(route.handler, call, context, response)

    @contextlib.contextmanager
    def _placed(self, route: _Route, call: Call) -> Iterator[None]:
        """Has the call take a place, until it has ended and its thread too. Raises OverloadedError."""
        free = route.places.take(call.caller.name if self._callers and self._callers.several else None)
        try:
            yield
        finally:
            if call.working is None:
                free()
            else:
                call.working.add_done_callback(lambda _: free())

    def _known(self, route: _Route, context: Context) -> Caller:
        """Who calls. Raises StatusError."""
        if self._callers is None:
            return ANYONE
        caller = self._callers.find(context.invocation_metadata() or (), context.auth_context())
        if caller is None:
            raise StatusError(
                grpc.StatusCode.UNAUTHENTICATED,
                "the call bears no token or certificate that is known here; give a token that has not expired",
            )
        if route.scope != ANY_CALLER and not caller.may(route.scope):
            raise StatusError(
                grpc.StatusCode.PERMISSION_DENIED, f"{caller.name} may not call {route.method}: it needs {route.scope}"
            )
        return caller

    async def _requests(self, handler: Handler, call: Call, context: Context) -> AsyncGenerator[Any, None]:
        quiet = self._settings.quiet_seconds
        kind = _kind(handler)
        while True:
            async with _within(quiet, f"no message came for {quiet:g} s"):
                content = await context.read()
            if not isinstance(content, bytes):  # grpc.aio.EOF
                return
            received(call, len(content))
            if kind is not None and len(content) > LIGHT_BYTES:
                async with self._counting:
                    await asyncio.to_thread(check_parts, content, kind)
            try:
                yield handler.request_deserializer(content) if handler.request_deserializer else content
            except DecodeError:
                raise InputError("a message is not of the type that the method takes") from None

    async def _send(self, handler: Handler, call: Call, context: Context, response: Any) -> None:  # noqa: ANN401
        content = handler.response_serializer(response) if handler.response_serializer else response
        most, quiet = self._settings.max_message_bytes, self._settings.quiet_seconds
        if len(content) > most:
            raise TooLargeError(f"the answer is larger than max: {len(content)} bytes, and {most} may be sent")
        async with _within(quiet, f"the client took no message for {quiet:g} s"):
            call.sending = forgivable(asyncio.ensure_future(context.write(content)))
            await asyncio.wait({call.sending})  # what ends the call leaves the message on its way
            call.sending.result()
        sent(call, len(content))


def _code(context: Context) -> grpc.StatusCode:
    """How the method said that the call ended: grpc.aio has it as a number or None, its stubs as a StatusCode."""
    return _CODES[cast("int | None", context.code()) or 0]


async def _is_sent(call: Call) -> bool:
    """Whether the client took the last message, or takes it soon; a status comes behind it."""
    if call.sending is None:
        return True
    done, _ = await asyncio.wait({call.sending}, timeout=_LAST_SECONDS)
    return bool(done)


def _kind(handler: Handler) -> Descriptor | None:
    """The type of a method's requests: generated code reads them by `FromString` of their class."""
    kind = getattr(handler.request_deserializer, "__self__", None)
    return cast("Descriptor", kind.DESCRIPTOR) if isinstance(kind, type) and issubclass(kind, Message) else None


async def _only(requests: AsyncIterator[Any]) -> Any:  # noqa: ANN401
    async for request in requests:
        return request
    raise InputError("the call has no request")


@contextlib.asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    """Ends the block after some time. Raises StatusError, DEADLINE_EXCEEDED."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():  # somebody else's
            raise
        raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, otherwise) from None
