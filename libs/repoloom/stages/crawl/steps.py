"""The steps: the sources of a recipe as a table of one part each, and the crawl of one source a task."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from repoloom.corpus.tables import DROPPED, FILES
from repoloom.engine.step import Accounts, Params, Reader, Shares, Sink, Step
from repoloom.errors import InputError
from repoloom.stages.crawl.fetch import repositories
from repoloom.stages.crawl.harvest import REPOSITORIES, Harvest
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import is_resolved
from repoloom.stages.crawl.scratch import scratch_folder, sweep
from repoloom.stages.crawl.sources import Source, from_json, to_json

SOURCES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),  # unique
        pa.field("source", pa.string(), nullable=False),  # canonical JSON
    ]
)
"""One row a source, each in a part of its own, so that each is a task that succeeds or fails alone."""


class CrawlSourcesParams(Params):
    """What is to be crawled."""

    sources: tuple[Source, ...] = Field(description="What to crawl; each has a `kind`.")


class CrawlSources(Step[CrawlSourcesParams]):
    """Writes the sources down, one part each. Raises InputError where two would give repositories of the same name."""

    name = "crawl.sources"
    reads = ()
    writes: ClassVar = {"sources": SOURCES}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{}]

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:  # noqa: ARG002
        names = Counter(source.repository for source in self.params.sources)
        for source in self.params.sources:
            if names[source.repository] > 1:
                raise InputError(
                    f"two sources give the repository {source.repository!r} ({source}); give one a name by `repo:`"
                )
            if not is_resolved(source):
                raise InputError(f"{source} has no revision: local sources are resolved before they are crawled")
            out.write("sources", pa.RecordBatch.from_arrays([[source.repository], [to_json(source)]], schema=SOURCES))
            out.roll("sources")


class Crawl(Step[Limits]):
    """Fetches one source and turns every file that it lists into a row of FILES or of DROPPED. Runs no code of it."""

    name = "crawl"
    version = 2
    reads = ("sources",)
    writes: ClassVar = {"files": FILES, "repositories": REPOSITORIES, "dropped": DROPPED}
    accounts = Accounts(None, kept=("files",))

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return ({"sources": [part]} for part in tables["sources"])

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        sweep()
        for batch in inputs["sources"].batches():
            for text in batch["source"].to_pylist():
                self._crawl(from_json(text), out)

    def _crawl(self, source: Source, out: Sink) -> None:
        with scratch_folder() as scratch:
            harvest = Harvest(source, self.params, out, scratch)
            for repository in repositories(source, self.params, scratch):
                harvest.take(repository)
            harvest.finish()
