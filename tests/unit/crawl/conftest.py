"""Crawling in a test: one source through the real steps, with everything watched that a crawl must leave alone."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from memory import MemoryReader, MemorySink
from pydantic import TypeAdapter

from repoloom.corpus.tables import DROPPED, FILES
from repoloom.stages.crawl.harvest import REPOSITORIES
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import Source
from repoloom.stages.crawl.steps import Crawl, CrawlSources, CrawlSourcesParams

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@dataclass
class Crawled:
    """What a crawl gave."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # path -> row
    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    repositories: list[dict[str, Any]] = field(default_factory=list)

    @property
    def contents(self) -> dict[str, bytes]:
        return {path: row["content"] for path, row in self.files.items()}

    @property
    def rules(self) -> dict[str, str]:
        return {row["path"]: row["rule"] for row in self.dropped}


def rows_of(sink: MemorySink, table: str, schema: pa.Schema) -> list[dict[str, Any]]:
    if table not in sink._written:
        return []
    found = sink.table(table)
    assert found.schema == schema
    return found.to_pylist()


CrawlSource = Callable[..., Crawled]


@pytest.fixture
def crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrawlSource]:
    """Crawls the source that its arguments describe. Scratch folders must be gone afterwards, nothing else written."""
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(here)
    before = _listing(tmp_path)

    def run(limits: Limits | None = None, **source: Any) -> Crawled:
        nonlocal before
        before = _listing(tmp_path)
        crawled = Crawled()
        for resolved in resolve(SOURCE.validate_python(source)):
            planned = MemorySink()
            CrawlSources(CrawlSourcesParams(sources=(resolved,))).run({}, planned)
            sink = MemorySink()
            try:
                Crawl(limits or Limits()).run({"sources": MemoryReader(planned.table("sources"))}, sink)
            finally:
                assert _listing(tmp_path) == before
            files, dropped = rows_of(sink, "files", FILES), rows_of(sink, "dropped", DROPPED)
            assert sink.entered == (len(files) + len(dropped), sum(row["size"] for row in files + dropped))
            crawled.rows += files
            crawled.files |= {row["path"]: row for row in files}
            crawled.dropped += dropped
            crawled.repositories += rows_of(sink, "repositories", REPOSITORIES)
        return crawled

    yield run
    assert _listing(tmp_path) == before


def _listing(folder: Path) -> Mapping[str, int]:
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return {str(path): path.lstat().st_size for path in found}
