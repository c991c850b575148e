"""The client of the decontaminator."""

from collections.abc import Iterable, Iterator

from repoloom.client.service import ServiceClient
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import BenchmarkText, FindHitsRequest, Hit
from repoloom.protos.decontaminator.v1.decontaminator_pb2_grpc import DecontaminatorServiceStub
from repoloom.rpc.catalog import Name


class Decontaminator(ServiceClient):
    """Finds files that share words with benchmarks."""

    name = Name.DECONTAMINATOR
    stage = "decontaminate"

    def find(
        self, files: Iterable[File], benchmarks: Iterable[str] = (), texts: Iterable[BenchmarkText] = ()
    ) -> Iterator[Hit | Dropped]:
        """What files share with benchmarks that the service has, by name, and with texts of your own."""
        method = DecontaminatorServiceStub(self._channel).FindHits
        return self._call(method, FindHitsRequest, "files", files, benchmarks=list(benchmarks), texts=list(texts))
