"""crawler: a source in, its files out."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial

import pyarrow as pa
from pydantic import ValidationError

from repoloom.corpus.manifest import canonical_json
from repoloom.engine.step import Reader
from repoloom.protos.crawler.v1.crawler_pb2 import CrawlRequest, CrawlResponse
from repoloom.protos.crawler.v1.crawler_pb2_grpc import add_CrawlerServiceServicer_to_server
from repoloom.rpc.calls import answer, online, values
from repoloom.rpc.catalog import Name
from repoloom.rpc.errors import FieldError
from repoloom.rpc.online import Job, Outlet, run
from repoloom.rpc.service import Service
from repoloom.rpc.stream import MemoryReader
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import Source, from_json, to_json
from repoloom.stages.crawl.steps import SOURCES, Crawl
from repoloom_services.resources import Resources


def service(resources: Resources) -> Service:
    """See proto/repoloom/crawler/v1/crawler.proto."""

    async def crawl(request: CrawlRequest, context: object) -> AsyncIterator[CrawlResponse]:  # noqa: ARG001
        form = partial(answer, CrawlResponse)
        async with aclosing(run(_job(request), form, resources.executor)) as responses:
            async for response in responses:
                yield response

    return online(add_CrawlerServiceServicer_to_server, Name.CRAWLER, Crawl=crawl)


def _job(request: CrawlRequest) -> Job:
    source = from_json(canonical_json(values(request.source, "source")).decode())
    step = Crawl(_limits(request))

    def work(inputs: Mapping[str, Reader], out: Outlet) -> None:  # noqa: ARG001 - it reads no table
        for resolved in resolve(source):
            step.run({"sources": MemoryReader(_row(resolved))}, out)

    return Job(work)


def _row(source: Source) -> pa.Table:
    return pa.table([[source.repository], [to_json(source)]], schema=SOURCES)


def _limits(request: CrawlRequest) -> Limits:
    """The limits asked for, none above its default: a repository is held until it is known as a whole."""
    try:
        limits = Limits.model_validate(values(request.parameters))
    except ValidationError as error:
        problem = error.errors()[0]
        raise FieldError(f"parameters.{'.'.join(map(str, problem['loc']))}", problem["msg"]) from None
    for name, most in Limits():
        if getattr(limits, name) > most:
            raise FieldError(f"parameters.{name}", f"online it is at most {most}; a batch job has no such limit")
    return limits
