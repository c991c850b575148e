"""The client of the quality scorer."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import Score, ScoreFilesRequest
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2_grpc import QualityScorerServiceStub


class QualityScorer(ServiceClient):
    """Parses and scores files."""

    name = "quality_scorer"
    stages = ("quality",)

    def score(self, files: Iterable[File], **parameters: Any) -> Iterator[Score | Dropped]:  # noqa: ANN401
        """A score for each file, and for each that fails, why. `parameters` are the recipe's section `quality`."""
        requests = (ScoreFilesRequest(files=some) for some in chunks(files))
        method = QualityScorerServiceStub(self._channel).ScoreFiles
        return stream(method, with_settings(requests, parameters=struct(parameters)), self._seconds)
