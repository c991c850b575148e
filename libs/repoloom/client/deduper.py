"""The client of the deduper."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.protos.corpus.v1.corpus_pb2 import Document
from repoloom.protos.deduper.v1.deduper_pb2 import Alarm, ClusterMember, DeduplicateRequest, Signature, SignRequest
from repoloom.protos.deduper.v1.deduper_pb2_grpc import DeduperServiceStub
from repoloom.rpc.catalog import Name


class Deduper(ServiceClient):
    """Finds near-duplicate repositories."""

    name = Name.DEDUPER
    stage = "dedup"

    def sign(self, documents: Iterable[Document], **parameters: Any) -> Iterator[Signature]:  # noqa: ANN401
        """A sketch of each repository; the documents of each are given one after another.

        `parameters` are the recipe's section `dedup`.
        """
        method = DeduperServiceStub(self._channel).Sign
        return self._call(method, SignRequest, "documents", documents, parameters=struct(parameters))

    def deduplicate(self, documents: Iterable[Document], **parameters: Any) -> Iterator[ClusterMember | Alarm]:  # noqa: ANN401
        """The clusters of near-duplicates among all repositories; `parameters` are the recipe's section `dedup`."""
        method = DeduperServiceStub(self._channel).Deduplicate
        return self._call(method, DeduplicateRequest, "documents", documents, parameters=struct(parameters))
