"""quality_scorer: files in, a score for each and those that fail out."""

from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import ScoreFilesRequest, ScoreFilesResponse
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2_grpc import add_QualityScorerServiceServicer_to_server
from repoloom.rpc.calls import OnlineCall, configured, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.online import Job
from repoloom.rpc.service import Service
from repoloom.rpc.tables import single_file_documents
from repoloom.stages.quality.step import Quality
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """See proto/repoloom/quality_scorer/v1/quality_scorer.proto."""
    score_files = OnlineCall[ScoreFilesRequest, ScoreFilesResponse](
        field="files",
        table="documents",
        rows=single_file_documents,
        begin=lambda first: Job(configured(Quality, first.parameters).run),
        response=ScoreFilesResponse,
        executor=resources.executor,
        room=resources.room,
    )
    return online(add_QualityScorerServiceServicer_to_server, Name.QUALITY_SCORER, ScoreFiles=score_files.answer)
