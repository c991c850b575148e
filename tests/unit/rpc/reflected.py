"""The methods of a server, as its reflection tells them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


@dataclass(frozen=True)
class Method:
    """A method: its path, and what it takes."""

    service: str
    name: str
    request: type[Message]
    request_streaming: bool
    response_streaming: bool

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    def call(
        self, channel: grpc.Channel, requests: Iterator[bytes], seconds: float, metadata: Sequence[tuple[str, str]] = ()
    ) -> grpc.Call:
        """Calls it with messages as they are on the wire; the call yields what the server answers."""
        return channel.stream_stream(self.path)(requests, timeout=seconds, metadata=metadata)


def methods_of(channel: grpc.Channel) -> list[Method]:
    """All methods of all services of a server."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    return [
        Method(
            service,
            method.name,
            GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(method.input_type.full_name)),
            bool(method.client_streaming),
            bool(method.server_streaming),
        )
        for service in sorted(database.get_services())
        for method in pool.FindServiceByName(service).methods
    ]
