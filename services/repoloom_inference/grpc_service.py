"""The server over gRPC."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from repoloom.inference.answer import MAX_STOP_CHARACTERS, MAX_STOPS
from repoloom.inference.engine import Finish
from repoloom.inference.generate import Sampling
from repoloom.protos.inference.v1.inference_pb2 import CompleteRequest, CompleteResponse, FinishReason, Usage
from repoloom.protos.inference.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from repoloom.rpc.errors import FieldError
from repoloom.rpc.service import Service, generated
from repoloom_inference.http import SCOPE
from repoloom_inference.state import State

_MAX_TEMPERATURE = 2.0
_DEFAULT_TOKENS = 16
_REASONS = {Finish.STOP: FinishReason.FINISH_REASON_STOP, Finish.LENGTH: FinishReason.FINISH_REASON_LENGTH}


def service(state: State, life: Callable[[], AbstractAsyncContextManager[object]]) -> Service:
    """See proto/repoloom/inference/v1/inference.proto; `life` is entered before the first call."""
    return generated(add_InferenceServiceServicer_to_server, _Inference(state), {"Complete": SCOPE}, life)


class _Inference(InferenceServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Complete(  # noqa: N802 - the protocol's name
        self,
        request: CompleteRequest,
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[CompleteResponse]:
        sampling = _sampling(request)
        stops = list(request.stop)
        if len(stops) > MAX_STOPS or not all(0 < len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
            raise FieldError("stop", f"give at most {MAX_STOPS}, each of 1 to {MAX_STOP_CHARACTERS} characters")
        served = self._state.served
        suffix = request.suffix if request.HasField("suffix") else None
        prompt = await asyncio.to_thread(served.tokens, request.prefix, suffix, sampling.max_new_tokens)
        with served.ask([prompt], [sampling], stops) as asked:
            async for piece in asked:
                if piece.finish is None:
                    yield CompleteResponse(text=piece.text)
                else:
                    usage = Usage(prompt_tokens=len(prompt), completion_tokens=piece.tokens)
                    yield CompleteResponse(text=piece.text, finish_reason=_REASONS[piece.finish], usage=usage)


def _sampling(request: CompleteRequest) -> Sampling:
    if not 0 <= request.temperature <= _MAX_TEMPERATURE:
        raise FieldError("temperature", f"give 0 to {_MAX_TEMPERATURE:g}")
    if not 0 <= request.top_p <= 1:
        raise FieldError("top_p", "give 0 to 1")
    seed = request.seed if request.HasField("seed") else secrets.randbits(63)
    return Sampling(request.max_tokens or _DEFAULT_TOKENS, request.temperature, request.top_p or 1.0, seed)
