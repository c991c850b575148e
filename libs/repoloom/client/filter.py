"""The client of the filter."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.protos.filter.v1.filter_pb2_grpc import FilterServiceStub
from repoloom.rpc.catalog import Name


class Filter(ServiceClient):
    """Says which files are worth reading."""

    name = Name.FILTER
    stage = "filter"

    def files(self, files: Iterable[File], **parameters: Any) -> Iterator[File | Dropped]:  # noqa: ANN401
        """Every file once: as it is kept, or why it is dropped. `parameters` are the recipe's section `filter`."""
        method = FilterServiceStub(self._channel).FilterFiles
        return self._call(method, FilterFilesRequest, "files", files, parameters=struct(parameters))
