"""deduper: documents in, a sketch of each repository out, or the clusters of near-duplicates among them all."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from repoloom.engine.step import Reader
from repoloom.protos.deduper.v1.deduper_pb2 import (
    DeduplicateRequest,
    DeduplicateResponse,
    SignRequest,
    SignResponse,
)
from repoloom.protos.deduper.v1.deduper_pb2_grpc import add_DeduperServiceServicer_to_server
from repoloom.recipe.sections import configure, steps
from repoloom.rpc.calls import OnlineCall, checked, configured, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.online import Job, Outlet
from repoloom.rpc.room import Room
from repoloom.rpc.service import Service
from repoloom.rpc.tables import documents
from repoloom.stages.dedup.signatures import Signatures
from repoloom.stages.dedup.survivors import Survivors
from repoloom_services.chain import Chain, Content
from repoloom_services.resources import Resources

STREAM_BYTES = 128 << 20
"""Of what is known of one stream's repositories: about 9 KB of each with the usual parameters, its name included."""

STREAMS_BYTES = 4 * STREAM_BYTES

_BANDED_BYTES = 24  # of a bucket, beside the name of its repository


def service(resources: Resources) -> Service:
    """See proto/repoloom/deduper/v1/deduper.proto."""
    sign = OnlineCall[SignRequest, SignResponse](
        field="documents",
        table="documents",
        rows=documents,
        begin=lambda first: Job(configured(Signatures, first.parameters).run),
        response=SignResponse,
        executor=resources.executor,
        room=resources.room,
    )
    room = Room(everyone=STREAMS_BYTES, each=STREAM_BYTES)
    deduplicate = OnlineCall[DeduplicateRequest, DeduplicateResponse](
        field="documents",
        table="documents",
        rows=documents,
        begin=lambda first: _deduplicate(first, room),
        response=DeduplicateResponse,
        executor=resources.executor,
        room=resources.room,
    )
    return online(add_DeduperServiceServicer_to_server, Name.DEDUPER, Sign=sign.answer, Deduplicate=deduplicate.answer)


def _deduplicate(first: DeduplicateRequest, room: Room) -> Job:
    values = checked("dedup", first.parameters)

    def work(inputs: Mapping[str, Reader], out: Outlet) -> None:
        with room.share() as share:
            chain = Chain(out.go_on, lambda content: share.take(_weight(content)))
            for step in steps("dedup"):
                if step is Survivors:  # it takes the documents apart, which are not kept
                    break
                chain.run(configure(step, values), inputs if step is Signatures else None)
            for table in DeduplicateResponse.DESCRIPTOR.fields_by_name:
                for rows in chain.reader(table).batches():
                    out.write(table, rows)

    return Job(work)


def _weight(content: Content) -> int:
    """The bytes of what is kept; of a signature also of what it becomes, a row with the repository's name a bucket."""
    if isinstance(content, bytes):
        return len(content)
    size = int(content.nbytes)
    if "buckets" in content.schema.names:
        names = pc.binary_length(content["repo"]).to_numpy().astype(np.int64) + _BANDED_BYTES
        size += int(names @ pc.list_value_length(content["buckets"]).to_numpy())
    return size
