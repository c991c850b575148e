"""The client of the dependency sorter."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import Cycle, Edge, SortFilesRequest
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2_grpc import DependencySorterServiceStub


class DependencySorter(ServiceClient):
    """Lays a repository's files out, dependencies first."""

    name = "dependency_sorter"
    stages = ("order",)

    def sort(self, files: Iterable[File], **parameters: Any) -> Iterator[Document | Edge | Cycle]:  # noqa: ANN401
        """The documents, import edges and cycles of repositories; the files of each are given one after another.

        `parameters` are the recipe's section `order`.
        """
        requests = (SortFilesRequest(files=some) for some in chunks(files))
        method = DependencySorterServiceStub(self._channel).SortFiles
        return stream(method, with_settings(requests, parameters=struct(parameters)), self._seconds)
