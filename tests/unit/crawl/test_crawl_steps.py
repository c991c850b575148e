import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from memory import MemorySink

from repoloom.corpus.manifest import Part
from repoloom.stages.crawl import STEPS, harvest
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.sources import PypiSource, from_json
from repoloom.stages.crawl.steps import Crawl, CrawlSources, CrawlSourcesParams


def a_source(name: str) -> PypiSource:
    return PypiSource(kind="pypi", name=name, version="1.0")


def test_each_source_is_a_part_and_each_part_a_task() -> None:
    rolled = []

    class Sink(MemorySink):
        def roll(self, table: str) -> None:
            rolled.append((table, self.table(table).num_rows))

    sink = Sink()
    sources = (a_source("a"), a_source("b"))
    step = CrawlSources(CrawlSourcesParams(sources=sources))
    assert list(step.plan({}, 1 << 30)) == [{}]
    step.run({}, sink)
    assert rolled == [("sources", 1), ("sources", 2)]
    assert tuple(from_json(text) for text in sink.table("sources")["source"].to_pylist()) == sources

    parts = [Part(key=f"{i}", sha256="", bytes=1, rows=1) for i in range(2)]
    assert list(Crawl(Limits()).plan({"sources": parts}, 1 << 30)) == [{"sources": [part]} for part in parts]


def test_the_steps_are_named_after_the_stage() -> None:
    assert [step.name for step in STEPS] == ["crawl.sources", "crawl"]


@pytest.mark.parametrize("batch_bytes", [1, 1000, 1 << 30])
def test_a_large_repository_gives_the_same_rows_whether_it_waits_in_memory_or_in_a_file(
    crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    monkeypatch.setattr(harvest, "_BATCH_BYTES", batch_bytes)
    root = tmp_path / "project"
    root.mkdir()
    for number in range(30):
        (root / f"{number:02}").write_bytes(b"%d\n" % number * 100)
    (root / "package.json").write_text('{"license": "ISC"}')
    found = crawl(kind="folder", path=str(root))
    assert [row["path"] for row in found.rows] == [*(f"{number:02}" for number in range(30)), "package.json"]
    assert {row["license"] for row in found.rows} == {"ISC"}


def test_repositories_of_one_source_keep_their_own_licences(
    crawl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        f'{{"repo": "{repo}", "path": "{path}", "content": "// SPDX-License-Identifier: {name}\\n"}}\n'
        for repo, name in (("a", "MIT"), ("b", "ISC"), ("c", "0BSD"))
        for path in range(9)
    ]
    (tmp_path / "x.jsonl").write_text("".join(rows))
    monkeypatch.setattr(harvest, "_BATCH_BYTES", 150)
    found = crawl(kind="jsonl", path=str(tmp_path / "x.jsonl"), columns={"path": None})
    assert [row["license"] for row in found.rows] == ["MIT"] * 9 + ["ISC"] * 9 + ["0BSD"] * 9
    assert [row["license"] for row in found.repositories] == ["MIT", "ISC", "0BSD"]


def test_the_content_is_what_its_hash_says(crawl: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(999).hex().encode())
    row = crawl(kind="folder", path=str(tmp_path / "a")).rows[0]
    assert row["sha256"] == hashlib.sha256(row["content"]).hexdigest()
    assert row["size"] == len(row["content"]) == 1998
