"""dependency_sorter: a repository's files in, documents with dependencies first, edges and cycles out."""

from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import SortFilesRequest, SortFilesResponse
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2_grpc import (
    add_DependencySorterServiceServicer_to_server,
)
from repoloom.rpc.calls import OnlineCall, configured, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.online import Job
from repoloom.rpc.service import Service
from repoloom.rpc.tables import text_files
from repoloom.stages.order.step import Order
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """See proto/repoloom/dependency_sorter/v1/dependency_sorter.proto."""
    sort_files = OnlineCall[SortFilesRequest, SortFilesResponse](
        field="files",
        table="files",
        rows=text_files,
        begin=lambda first: Job(configured(Order, first.parameters).run),
        response=SortFilesResponse,
        executor=resources.executor,
        room=resources.room,
    )
    return online(add_DependencySorterServiceServicer_to_server, Name.DEPENDENCY_SORTER, SortFiles=sort_files.answer)
