"""filter: files in, those that stay and those that do not out."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest, FilterFilesResponse
from repoloom.protos.filter.v1.filter_pb2_grpc import FilterServiceServicer, add_FilterServiceServicer_to_server
from repoloom.rpc.calls import Job, OnlineCall, configured
from repoloom.rpc.service import Service, generated
from repoloom.rpc.tables import raw_files
from repoloom.stages.filter.step import Filter as FilterStep
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """The service over gRPC."""
    return generated(add_FilterServiceServicer_to_server, Filter(resources), {"FilterFiles": "filter:online"})


class Filter(FilterServiceServicer):
    """See proto/repoloom/filter/v1/filter.proto."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def FilterFiles(  # noqa: N802
        self,
        request_iterator: AsyncIterator[FilterFilesRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[FilterFilesResponse]:
        async with aclosing(_FILTER.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response


_FILTER: OnlineCall[FilterFilesRequest, FilterFilesResponse] = OnlineCall(
    table="files",
    rows=lambda request: raw_files(request.files),
    begin=lambda first: Job(configured(FilterStep, first.parameters).run),
    settings=("parameters",),
    response=FilterFilesResponse,
)
