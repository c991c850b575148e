"""A repository of a million tiny files, through the engine: refused under the limits, crawled where they are raised."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from repoloom.corpus.dataset import Dataset
from repoloom.corpus.ledger import Count
from repoloom.engine.pool import Limits as WorkerLimits
from repoloom.engine.pool import LocalPool
from repoloom.engine.reconcile import Policy, Table, reconcile
from repoloom.engine.task import Commit
from repoloom.stages.crawl.limits import Limits
from repoloom.stages.crawl.resolve import resolve
from repoloom.stages.crawl.sources import GitSource
from repoloom.stages.crawl.steps import Crawl, CrawlSources, CrawlSourcesParams

MILLION, SOME = 1_000_000, 200_000
MEMORY = 1 << 30


def _history() -> Iterator[bytes]:
    """A branch of some files and, on top of it, one of a million, as `git fast-import` reads them."""
    for branch, numbers in (("some", range(SOME)), ("main", range(SOME, MILLION))):
        yield b"commit refs/heads/%s\ncommitter a <a> 1700000000 +0000\ndata 1\nx\n" % branch.encode()
        if branch == "main":
            yield b"from refs/heads/some\n"
        for start in range(numbers.start, numbers.stop, 10_000):
            yield b"".join(
                b"M 100644 inline %d/%d/%d\ndata %d\n%d\n" % (i % 100, i // 100 % 100, i, len(str(i)), i)
                for i in range(start, start + 10_000)
            )


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("million") / "million.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(repository)], check=True)
    fast_import = ["git", "fast-import", "--quiet", "--depth=0"]
    with subprocess.Popen(fast_import, cwd=repository, stdin=subprocess.PIPE) as git:
        assert git.stdin is not None
        for lines in _history():
            git.stdin.write(lines)
    assert git.returncode == 0
    return repository


def crawl(repository: Path, revision: str, limits: Limits, out: Path) -> Dataset:
    sources = resolve(GitSource(kind="git", path=str(repository), revision=revision))
    with LocalPool(1, WorkerLimits(memory_bytes=MEMORY)) as pool:
        listed = reconcile(CrawlSources(CrawlSourcesParams(sources=sources)), {}, f"{out}/sources", pool, Policy())
        tables = {"sources": Table(listed, "sources")}
        return reconcile(Crawl(limits), tables, f"{out}/crawl", pool, Policy(attempts=1))


def test_a_million_tiny_files_are_refused_in_bounded_memory_before_one_is_read(million: Path, tmp_path: Path) -> None:
    crawled = crawl(million, "main", Limits(), tmp_path)
    (refused,) = crawled.manifest.quarantined
    assert refused.error == "git/million has more than 100000 files; max_files sets this limit"
    assert refused.kind == "refused"
    assert sum(part.rows for part in crawled.parts("files")) == 0


def test_as_many_as_the_limit_says_are_crawled_in_bounded_memory(million: Path, tmp_path: Path) -> None:
    crawled = crawl(million, "some", Limits(max_files=SOME), tmp_path)
    assert crawled.manifest.quarantined == ()
    size = sum(len(str(number)) for number in range(SOME))
    assert crawled.manifest.ledger.entering == Count(items=SOME, size=size)
    assert sum(part.rows for part in crawled.parts("files")) == SOME
    crawled.verify()
    (commit,) = (tmp_path / "crawl" / "tasks").glob("*/commit.json")
    assert Commit.model_validate_json(commit.read_bytes()).cost.peak_memory < MEMORY
