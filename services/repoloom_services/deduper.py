"""deduper: documents in, a sketch of each repository out, or the clusters of near-duplicates among them all."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Ledger
from repoloom.corpus.manifest import Cut, Manifest
from repoloom.corpus.parts import columns_of, write_listing
from repoloom.corpus.tables import DOCUMENTS
from repoloom.corpus.writing import TaskWriter
from repoloom.engine.execute import execute
from repoloom.engine.plan import Table
from repoloom.engine.pool import Limits, Outcome
from repoloom.engine.reconcile import Policy
from repoloom.engine.step import Reader, Sink
from repoloom.engine.task import Task
from repoloom.errors import TooLargeError
from repoloom.protos.deduper.v1.deduper_pb2 import (
    DeduplicateRequest,
    DeduplicateResponse,
    SignRequest,
    SignResponse,
)
from repoloom.protos.deduper.v1.deduper_pb2_grpc import DeduperServiceServicer, add_DeduperServiceServicer_to_server
from repoloom.recipe.run import run_stage
from repoloom.rpc.calls import Job, OnlineCall, checked, configured
from repoloom.rpc.service import Service, generated
from repoloom.rpc.tables import documents
from repoloom.stages.dedup.signatures import Signatures
from repoloom.store import open_store
from repoloom_services.resources import Resources

STREAM_BYTES = 1 << 30
"""Of the documents of one stream that are compared with one another; they wait on disk."""


def service(resources: Resources) -> Service:
    """The service over gRPC."""
    scopes = {"Sign": "deduper:online", "Deduplicate": "deduper:online"}
    return generated(add_DeduperServiceServicer_to_server, Deduper(resources), scopes)


class Deduper(DeduperServiceServicer):
    """See proto/repoloom/deduper/v1/deduper.proto."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def Sign(  # noqa: N802
        self,
        request_iterator: AsyncIterator[SignRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[SignResponse]:
        async with aclosing(_SIGN.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response

    async def Deduplicate(  # noqa: N802
        self,
        request_iterator: AsyncIterator[DeduplicateRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[DeduplicateResponse]:
        async with aclosing(_DEDUPLICATE.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response


def _deduplicate(first: DeduplicateRequest) -> Job:
    values = checked("dedup", first.parameters)

    def work(inputs: Mapping[str, Reader], out: Sink) -> None:
        with tempfile.TemporaryDirectory(prefix="repoloom-deduper-") as folder:
            tables = {"documents": Table(_spool(inputs["documents"], f"{folder}/stream"), "documents")}
            for dataset in run_stage("dedup", values, tables, folder, _Inline(), Policy()):
                for name in DeduplicateResponse.DESCRIPTOR.fields_by_name:
                    if name in dataset.manifest.tables:
                        for rows in dataset.batches(name):
                            out.write(name, rows)
                if "alarms" in dataset.manifest.tables:  # what follows takes the documents apart
                    break

    return Job(work)


def _spool(stream: Reader, uri: str) -> Dataset:
    """The documents of a stream as a dataset. Raises TooLargeError."""
    store, size = open_store(uri), 0
    with TaskWriter(store, "tasks/stream", {"documents": DOCUMENTS}) as writer:
        for batch in stream.batches():
            size += batch.nbytes
            if size > STREAM_BYTES:
                raise TooLargeError(f"a stream may hold {STREAM_BYTES} bytes of documents; a batch job has no limit")
            writer.write("documents", batch)
        parts = writer.finish()["documents"]
    listing = write_listing(store, "documents", columns_of(parts))
    manifest = Manifest(
        step="stream",
        version=1,
        params={},
        inputs={},
        tables={"documents": listing},
        ledger=Ledger(),
        cut=Cut(task_bytes=1, tasks=1),
    )
    stores.write(store, MANIFEST, manifest.model_dump_json().encode())
    return Dataset(store.uri, manifest)


class _Inline:
    """A pool that does tasks where it is called: small ones, in a thread of the service."""

    limits = Limits()  # of nothing: the stream's own bound is what holds

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        for task in tasks:
            yield Outcome(task, execute(task))


_SIGN: OnlineCall[SignRequest, SignResponse] = OnlineCall(
    table="documents",
    rows=lambda request: documents(request.documents),
    begin=lambda first: Job(configured(Signatures, first.parameters).run),
    settings=("parameters",),
    response=SignResponse,
)

_DEDUPLICATE = OnlineCall(
    table="documents",
    rows=lambda request: documents(request.documents),
    begin=_deduplicate,
    settings=("parameters",),
    response=DeduplicateResponse,
)
