from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from repoloom.rpc.service import Service, generated


async def _one(request: bytes, _: object) -> bytes:
    return request


async def _many(request: bytes, _: object) -> AsyncIterator[bytes]:
    yield request


def _blocking(request: bytes, _: object) -> bytes:
    return request


def _blocking_many(request: bytes, _: object) -> Iterator[bytes]:
    yield request


def test_generated_code_says_its_name_and_methods() -> None:
    scopes = {"ServerReflectionInfo": "reflection:read"}
    servicer = reflection.aio.ReflectionServicer([])
    service = generated(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, servicer, scopes)
    assert service.name == reflection.SERVICE_NAME
    assert set(service.methods) == set(scopes)


@pytest.mark.parametrize("scopes", [{}, {"Echo": "t:x", "Other": "t:x"}, {"Other": "t:x"}])
def test_a_service_says_the_scope_of_each_of_its_methods_and_of_no_other(scopes: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="scopes for"):
        Service("t.T", {"Echo": grpc.unary_unary_rpc_method_handler(_one)}, scopes)


@pytest.mark.parametrize(
    "handler",
    [
        grpc.unary_unary_rpc_method_handler(_blocking),
        grpc.unary_unary_rpc_method_handler(_many),
        grpc.unary_stream_rpc_method_handler(_one),
        grpc.unary_stream_rpc_method_handler(_blocking_many),
    ],
)
def test_a_method_that_would_block_the_server_is_refused(handler: grpc.RpcMethodHandler) -> None:
    with pytest.raises(TypeError, match=r"t\.T/Echo is to be a"):
        Service("t.T", {"Echo": handler}, {"Echo": "t:x"})
