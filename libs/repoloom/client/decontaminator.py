"""The client of the decontaminator."""

from collections.abc import Iterable, Iterator

from repoloom.client.service import ServiceClient
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import BenchmarkText, FindHitsRequest, Hit
from repoloom.protos.decontaminator.v1.decontaminator_pb2_grpc import DecontaminatorServiceStub


class Decontaminator(ServiceClient):
    """Finds files that share words with benchmarks."""

    name = "decontaminator"
    stages = ("decontaminate",)

    def find(
        self, files: Iterable[File], benchmarks: Iterable[str] = (), texts: Iterable[BenchmarkText] = ()
    ) -> Iterator[Hit | Dropped]:
        """What files share with benchmarks that the service has, by name, and with texts of your own."""
        requests = (FindHitsRequest(files=some) for some in chunks(files))
        method = DecontaminatorServiceStub(self._channel).FindHits
        return stream(method, with_settings(requests, benchmarks=list(benchmarks), texts=list(texts)), self._seconds)
