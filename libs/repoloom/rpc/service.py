"""A gRPC service as it is served: its methods, what a caller needs for each, and what it needs itself."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

T = TypeVar("T")
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler

ANY_CALLER = ""
"""The scope of a method that whoever is known may call."""


@dataclass(frozen=True)
class Service:
    """Handlers are asynchronous: a coroutine where one response is given, an asynchronous generator where many are.

    They raise repoloom's errors, and leave the status to the server.
    """

    name: str  # in full: repoloom.filter.v1.Filter
    methods: Mapping[str, Handler]
    scopes: Mapping[str, str]  # of each method: what its caller needs
    life: Callable[[], AbstractAsyncContextManager[object]] = field(default=contextlib.nullcontext)
    """Is entered before the first call, while health says NOT_SERVING, and left after the last."""
    waits: frozenset[str] = frozenset()
    """Methods whose calls do nothing but wait: they take no place of those that work."""

    def __post_init__(self) -> None:
        if set(self.scopes) != set(self.methods):
            raise TypeError(f"{self.name} has {sorted(self.methods)}, and scopes for {sorted(self.scopes)}")
        for name, handler in self.methods.items():
            is_right = inspect.isasyncgenfunction if handler.response_streaming else inspect.iscoroutinefunction
            if not is_right(behaviour(handler)):
                raise TypeError(
                    f"{self.name}/{name} is to be "
                    + ("an asynchronous generator" if handler.response_streaming else "a coroutine function")
                )


def generated(
    add: Callable[[T, grpc.aio.Server], None],
    servicer: T,
    scopes: Mapping[str, str],
    life: Callable[[], AbstractAsyncContextManager[object]] = contextlib.nullcontext,
) -> Service:
    """A service of generated code: `add` is its `add_…Servicer_to_server`."""
    recorder = _Recorder()
    add(servicer, recorder)  # type: ignore[arg-type]
    return Service(recorder.name, recorder.methods, scopes, life)


def behaviour(handler: Handler) -> Callable[..., Any]:
    """What answers a method, whichever of the four kinds it is."""
    found = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    assert found is not None
    return found


class _Recorder:
    """Stands where generated code expects a server, and keeps what it is told."""

    name: str
    methods: Mapping[str, Handler]

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Holds the same as below, where nobody can read it."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Handler]) -> None:
        self.name, self.methods = service, methods
