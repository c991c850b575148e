"""quality_scorer: files in, a score for each and those that fail out."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import ScoreFilesRequest, ScoreFilesResponse
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2_grpc import (
    QualityScorerServiceServicer,
    add_QualityScorerServiceServicer_to_server,
)
from repoloom.rpc.calls import Job, OnlineCall, configured
from repoloom.rpc.service import Service, generated
from repoloom.rpc.tables import single_file_documents
from repoloom.stages.quality.step import Quality
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """The service over gRPC."""
    return generated(
        add_QualityScorerServiceServicer_to_server, QualityScorer(resources), {"ScoreFiles": "quality_scorer:online"}
    )


class QualityScorer(QualityScorerServiceServicer):
    """See proto/repoloom/quality_scorer/v1/quality_scorer.proto."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def ScoreFiles(  # noqa: N802
        self,
        request_iterator: AsyncIterator[ScoreFilesRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[ScoreFilesResponse]:
        async with aclosing(_SCORE.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response


_SCORE: OnlineCall[ScoreFilesRequest, ScoreFilesResponse] = OnlineCall(
    table="documents",
    rows=lambda request: single_file_documents(request.files),
    begin=lambda first: Job(configured(Quality, first.parameters).run),
    settings=("parameters",),
    response=ScoreFilesResponse,
)
