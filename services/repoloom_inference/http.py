"""The server over HTTP: OpenAI's completions, probes, metrics."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repoloom.errors import NotFoundError, RepoloomError, TooLargeError, UnavailableError
from repoloom.rpc.admission import Places
from repoloom.rpc.call import new_request_id
from repoloom.rpc.callers import ANYONE, Caller, CallersFile
from repoloom.rpc.errors import FieldError, OverloadedError
from repoloom.rpc.settings import ServerSettings
from repoloom.telemetry import metrics
from repoloom.telemetry.logging import bound
from repoloom.telemetry.metrics import CONTENT_TYPE, exposition
from repoloom_inference.openai import DONE, Answers, CompletionRequest, error_body, sse
from repoloom_inference.served import Asked, Served
from repoloom_inference.state import State
from repoloom_inference.tls import CERTIFICATE

T = TypeVar("T")
_logger = logging.getLogger(__name__)
SCOPE = "inference:online"
_CLIENT_GONE = 499  # nginx' status for it; nobody reads it but the metrics


class RefusalError(RepoloomError):
    """A request that is not for this caller."""

    def __init__(self, status: HTTPStatus, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def app(state: State, settings: ServerSettings, request_seconds: float) -> ASGIApp:
    """The application."""
    api = _Api(state, settings, request_seconds)
    routes = [
        Route("/v1/completions", api.complete, methods=["POST"]),
        Route("/v1/models", api.models, methods=["GET"]),
        Route("/v1/models/{name:path}", api.model, methods=["GET"]),
        Route("/healthz", api.healthz, methods=["GET"]),
        Route("/readyz", api.readyz, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
    ]
    handlers = {Exception: _failed, RepoloomError: _refused, TimeoutError: _refused, HTTPException: _no_route}
    return _Observed(Starlette(routes=routes, exception_handlers=handlers), {route.path for route in routes})


class _Api:
    """What is answered."""

    def __init__(self, state: State, settings: ServerSettings, request_seconds: float) -> None:
        self._state = state
        self._settings = settings
        self._seconds = request_seconds
        self._callers = CallersFile(settings.callers_file) if settings.callers_file else None
        self._places = Places(settings.max_calls, settings.caller_share)

    async def complete(self, request: Request) -> Response:
        """POST /v1/completions."""
        caller = self._known(request)
        async with asyncio.timeout(self._settings.quiet_seconds):
            body = await _body(request, self._settings.max_message_bytes)
        wanted = CompletionRequest.parse(body)
        served = self._state.served
        if wanted.model not in (None, served.name):
            raise _unknown_model(wanted.model or "", served)
        served.allow(len(wanted.prompts), wanted.answers)
        until = asyncio.get_running_loop().time() + self._seconds
        with ExitStack() as stack:
            several = self._callers is not None and self._callers.several
            stack.callback(self._places.take(caller.name if several else None))
            prompts = await asyncio.to_thread(_tokens, served, wanted)
            asked = stack.enter_context(served.ask(prompts, wanted.samplings(), wanted.stops))
            fingerprint = f"fp_{served.digest.removeprefix('sha256:')[:12]}"
            answers = Answers(wanted, served.name, fingerprint, int(time.time()), [len(prompt) for prompt in prompts])
            if wanted.stream:
                usage = wanted.stream_options is not None and wanted.stream_options.include_usage
                events = _events(asked, answers, usage, until, stack.pop_all())
                return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
            async with asyncio.timeout_at(until):
                whole = await _while_connected(request, _whole(asked, answers))
        return JSONResponse(whole) if whole else Response(status_code=_CLIENT_GONE)

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        self._known(request)
        return JSONResponse({"object": "list", "data": [_described(self._state.served)]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        self._known(request)
        served = self._state.served
        if request.path_params["name"] != served.name:
            raise _unknown_model(request.path_params["name"], served)
        return JSONResponse(_described(served))

    async def healthz(self, _: Request) -> Response:
        """GET /healthz: whether the process is of use, or is to be started anew."""
        return _probe(self._state.alive)

    async def readyz(self, _: Request) -> Response:
        """GET /readyz: whether to send requests."""
        return _probe(self._state.ready)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        return Response(exposition(), media_type=CONTENT_TYPE)

    def _known(self, request: Request) -> Caller:
        """Who asks. Raises RefusalError."""
        if self._callers is None:
            return ANYONE
        tokens = [("authorization", value) for value in request.headers.getlist("authorization")]
        caller = self._callers.find(tokens, request.scope.get(CERTIFICATE, {}))
        if caller is None:
            raise RefusalError(
                HTTPStatus.UNAUTHORIZED,
                "the request bears no token or certificate that is known here; give a token that has not expired",
                "invalid_api_key",
            )
        if not caller.may(SCOPE):
            raise RefusalError(HTTPStatus.FORBIDDEN, f"{caller.name} may not complete: it needs {SCOPE}", "forbidden")
        return caller


def _tokens(served: Served, wanted: CompletionRequest) -> list[list[int]]:
    return [served.tokens(prompt, wanted.suffix, wanted.new_tokens) for prompt in wanted.prompts]


async def _whole(asked: Asked, answers: Answers) -> dict[str, Any]:
    async for piece in asked:
        answers.add(piece)
    return answers.whole()


async def _events(asked: Asked, answers: Answers, usage: bool, until: float, stack: ExitStack) -> AsyncIterator[bytes]:
    """The answers as server-sent events; however the stream ends, the answers and their place are given up."""
    with stack:
        try:
            async with asyncio.timeout_at(until):
                for event in answers.first_events():
                    yield event
                async for piece in asked:
                    answers.add(piece)
                    yield answers.event(piece)
            if usage:
                yield answers.usage_event()
            yield DONE
        except (TimeoutError, RepoloomError) as error:
            _, body, _ = _answer(error)
            yield sse(body)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work comes to; None where the client went away, and the work is given up."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise TooLargeError(f"the body has more than {limit} bytes")
    return bytes(content)


def _described(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "repoloom",
        "max_model_len": served.context,
        "metadata": {
            "digest": served.digest,
            "fim_order": served.order,
            "corpus": served.lineage and served.lineage.packed,
            "training": served.lineage and served.lineage.identity,
            "parameters": served.lineage and served.lineage.parameters,
        },
    }


def _unknown_model(name: str, served: Served) -> NotFoundError:
    return NotFoundError(f"there is no model {name[:100]!r} here; {served.name!r} is")


def _answer(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of what a request met."""
    said = str(error)
    match error:
        case RefusalError():
            headers = {"WWW-Authenticate": "Bearer"} if error.status is HTTPStatus.UNAUTHORIZED else {}
            return error.status, error_body(said, "invalid_request_error", None, error.code), headers
        case FieldError():
            code = "context_length_exceeded" if "maximum context length" in said else None
            return 400, error_body(said, "invalid_request_error", error.field, code), {}
        case NotFoundError():
            return 404, error_body(said, "invalid_request_error", "model", "model_not_found"), {}
        case TooLargeError():
            return 413, error_body(said, "invalid_request_error", None, None), {}
        case OverloadedError():
            after = {"Retry-After": str(math.ceil(error.seconds))}
            return 429, error_body(said, "rate_limit_error", None, "rate_limit_exceeded"), after
        case UnavailableError():
            return 503, error_body(said, "server_error", None, "unavailable"), {"Retry-After": "1"}
        case TimeoutError():
            return 504, error_body("the request was not done in time", "server_error", None, "timeout"), {}
        case _:
            return 400, error_body(said, "invalid_request_error", None, None), {}


async def _refused(_: Request, error: Exception) -> Response:
    status, body, headers = _answer(error)
    return JSONResponse(body, status, headers)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = error_body(error.detail, "invalid_request_error", None, None)
    return JSONResponse(body, error.status_code, error.headers)


async def _failed(request: Request, _: Exception) -> Response:
    said = f"the server failed; its log has the error under request {request.scope['request_id']}"
    return JSONResponse(error_body(said, "server_error", None, None), 500)


def _probe(good: bool) -> Response:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return PlainTextResponse(status.phrase + "\n", status)


class _Observed:
    """Counts every request with the time until its last byte, and gives it an id."""

    def __init__(self, inner: ASGIApp, paths: set[str]) -> None:
        self._inner = inner
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, status = time.monotonic(), 500
        scope["request_id"] = new_request_id()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", scope["request_id"].encode())]
            await send(message)

        with bound(request_id=scope["request_id"]):
            try:
                await self._inner(scope, receive, sending)
            except ClientDisconnect:
                status = _CLIENT_GONE
            except Exception:  # it is answered, unless the answer had begun
                _logger.exception("%s failed", scope["path"])
            finally:
                route = scope["path"] if scope["path"] in self._paths else "other"
                metrics.http_answered(route, status, time.monotonic() - started)
