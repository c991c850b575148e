"""The client of a model that is served."""

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from repoloom.protos.inference.v1.inference_pb2 import CompleteRequest, CompleteResponse
from repoloom.protos.inference.v1.inference_pb2_grpc import InferenceServiceStub
from repoloom.rpc.channel import open_channel
from repoloom.rpc.errors import raised_as_own
from repoloom.rpc.settings import ChannelSettings, from_environment


class Inference:
    """Completes code. Use it in a `with` block, or close it."""

    def __init__(self, target: str | ChannelSettings) -> None:
        """`target` is host:port; what else a channel needs is REPOLOOM_CLIENT_CA_FILE, _TOKEN_FILE and so on."""
        if isinstance(target, str):
            target = from_environment(ChannelSettings, "REPOLOOM_CLIENT", os.environ, target=target)
        self._channel = open_channel(target, ("repoloom.inference.v1.InferenceService/Complete",))

    def complete(
        self,
        prefix: str,
        suffix: str | None = None,
        *,
        max_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Iterable[str] = (),
        seconds: float | None = None,
    ) -> Iterator[CompleteResponse]:
        """The answer in pieces, as the model writes it; the last says why it ended, and how many tokens there were.

        With a suffix, what stands between the two. Whoever looks no further cancels the rest by closing the iterator.
        """
        request = CompleteRequest(
            prefix=prefix,
            suffix=suffix,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop=stop,
        )
        with raised_as_own():
            call = InferenceServiceStub(self._channel).Complete(request, timeout=seconds)
            try:
                yield from call
            finally:
                call.cancel()

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
