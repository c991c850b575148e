"""The client of the crawler."""

from collections.abc import Iterator, Mapping
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import stream
from repoloom.protos.corpus.v1.corpus_pb2 import Dropped, File
from repoloom.protos.crawler.v1.crawler_pb2 import CrawlRequest, Repository
from repoloom.protos.crawler.v1.crawler_pb2_grpc import CrawlerServiceStub
from repoloom.rpc.catalog import Name


class Crawler(ServiceClient):
    """Reads repositories."""

    name = Name.CRAWLER
    stage = "crawl"

    def crawl(self, source: Mapping[str, Any], **limits: Any) -> Iterator[File | Repository | Dropped]:  # noqa: ANN401
        """What a source holds, e.g. {"kind": "pypi", "name": "requests", "version": "2.32.3"}.

        `limits` are those of the recipe's section `crawl`.
        """
        request = CrawlRequest(source=struct(source), parameters=struct(limits))
        return stream(CrawlerServiceStub(self._channel).Crawl, request, self._seconds)
