"""The client of the filter."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.protos.filter.v1.filter_pb2_grpc import FilterServiceStub


class Filter(ServiceClient):
    """Says which files are worth reading."""

    name = "filter"
    stages = ("filter",)

    def files(self, files: Iterable[File], **parameters: Any) -> Iterator[File | Dropped]:  # noqa: ANN401
        """Every file once: as it is kept, or why it is dropped. `parameters` are the recipe's section `filter`."""
        requests = (FilterFilesRequest(files=some) for some in chunks(files))
        method = FilterServiceStub(self._channel).FilterFiles
        return stream(method, with_settings(requests, parameters=struct(parameters)), self._seconds)
