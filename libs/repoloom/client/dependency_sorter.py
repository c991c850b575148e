"""The client of the dependency sorter."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import Cycle, Edge, SortFilesRequest
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2_grpc import DependencySorterServiceStub
from repoloom.rpc.catalog import Name


class DependencySorter(ServiceClient):
    """Lays a repository's files out, dependencies first."""

    name = Name.DEPENDENCY_SORTER
    stage = "order"

    def sort(self, files: Iterable[File], **parameters: Any) -> Iterator[Document | Edge | Cycle]:  # noqa: ANN401
        """The documents, import edges and cycles of repositories; the files of each are given one after another.

        `parameters` are the recipe's section `order`.
        """
        method = DependencySorterServiceStub(self._channel).SortFiles
        return self._call(method, SortFilesRequest, "files", files, parameters=struct(parameters))
