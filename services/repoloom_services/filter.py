"""filter: files in, those that stay and those that do not out."""

from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest, FilterFilesResponse
from repoloom.protos.filter.v1.filter_pb2_grpc import add_FilterServiceServicer_to_server
from repoloom.rpc.calls import OnlineCall, configured, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.online import Job
from repoloom.rpc.service import Service
from repoloom.rpc.tables import raw_files
from repoloom.stages.filter.step import Filter
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """See proto/repoloom/filter/v1/filter.proto."""
    filter_files = OnlineCall[FilterFilesRequest, FilterFilesResponse](
        field="files",
        table="files",
        rows=raw_files,
        begin=lambda first: Job(configured(Filter, first.parameters).run),
        response=FilterFilesResponse,
        executor=resources.executor,
        room=resources.room,
    )
    return online(add_FilterServiceServicer_to_server, Name.FILTER, FilterFiles=filter_files.answer)
