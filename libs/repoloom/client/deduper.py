"""The client of the deduper."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Document
from repoloom.protos.deduper.v1.deduper_pb2 import Alarm, ClusterMember, DeduplicateRequest, Signature, SignRequest
from repoloom.protos.deduper.v1.deduper_pb2_grpc import DeduperServiceStub


class Deduper(ServiceClient):
    """Finds near-duplicate repositories."""

    name = "deduper"
    stages = ("dedup",)

    def sign(self, documents: Iterable[Document], **parameters: Any) -> Iterator[Signature]:  # noqa: ANN401
        """A sketch of each repository; the documents of each are given one after another.

        `parameters` are the recipe's section `dedup`.
        """
        requests = (SignRequest(documents=some) for some in chunks(documents))
        method = DeduperServiceStub(self._channel).Sign
        return stream(method, with_settings(requests, parameters=struct(parameters)), self._seconds)

    def deduplicate(self, documents: Iterable[Document], **parameters: Any) -> Iterator[ClusterMember | Alarm]:  # noqa: ANN401
        """The clusters of near-duplicates among all repositories; `parameters` are the recipe's section `dedup`."""
        requests = (DeduplicateRequest(documents=some) for some in chunks(documents))
        method = DeduperServiceStub(self._channel).Deduplicate
        return stream(method, with_settings(requests, parameters=struct(parameters)), self._seconds)
