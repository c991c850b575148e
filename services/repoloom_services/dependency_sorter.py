"""dependency_sorter: a repository's files in, documents with dependencies first, edges and cycles out."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import SortFilesRequest, SortFilesResponse
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2_grpc import (
    DependencySorterServiceServicer,
    add_DependencySorterServiceServicer_to_server,
)
from repoloom.rpc.calls import Job, OnlineCall, configured
from repoloom.rpc.service import Service, generated
from repoloom.rpc.tables import text_files
from repoloom.stages.order.step import Order
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """The service over gRPC."""
    return generated(
        add_DependencySorterServiceServicer_to_server,
        DependencySorter(resources),
        {"SortFiles": "dependency_sorter:online"},
    )


class DependencySorter(DependencySorterServiceServicer):
    """See proto/repoloom/dependency_sorter/v1/dependency_sorter.proto."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def SortFiles(  # noqa: N802
        self,
        request_iterator: AsyncIterator[SortFilesRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[SortFilesResponse]:
        async with aclosing(_SORT.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response


_SORT: OnlineCall[SortFilesRequest, SortFilesResponse] = OnlineCall(
    table="files",
    rows=lambda request: text_files(request.files),
    begin=lambda first: Job(configured(Order, first.parameters).run),
    settings=("parameters",),
    response=SortFilesResponse,
)
