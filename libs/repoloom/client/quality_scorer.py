"""The client of the quality scorer."""

from collections.abc import Iterable, Iterator
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import Score, ScoreFilesRequest
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2_grpc import QualityScorerServiceStub
from repoloom.rpc.catalog import Name


class QualityScorer(ServiceClient):
    """Parses and scores files."""

    name = Name.QUALITY_SCORER
    stage = "quality"

    def score(self, files: Iterable[File], **parameters: Any) -> Iterator[Score | Dropped]:  # noqa: ANN401
        """A score for each file, and for each that fails, why. `parameters` are the recipe's section `quality`."""
        method = QualityScorerServiceStub(self._channel).ScoreFiles
        return self._call(method, ScoreFilesRequest, "files", files, parameters=struct(parameters))
