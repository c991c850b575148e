"""The filter step: each file becomes text of a known language, or a drop record."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from repoloom.corpus.languages import detect
from repoloom.corpus.tables import DROPPED, FILES, Drops
from repoloom.engine.step import Accounts, Reader, Sink, Step
from repoloom.stages.filter.decode import NotText, decode
from repoloom.stages.filter.domain import domain
from repoloom.stages.filter.rules import Failed, File, FilterParams, first_failed


class Filter(Step[FilterParams]):
    """Drops files that fail a rule; what stays is UTF-8 with its language and digest set."""

    name = "filter"
    version = 2
    reads = ("files",)
    writes: ClassVar = {"files": FILES, "dropped": DROPPED}
    accounts = Accounts("files", kept=("files",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        originals = _Originals()
        drops = Drops()
        failed: Failed | None
        for batch in inputs["files"].batches():
            kept = _Kept()
            columns = (batch[name].to_pylist() for name in ("repo", "path", "domain", "size"))
            for row, (repo, path, given, size) in enumerate(zip(*columns, strict=True)):
                content = batch["content"][row].as_py()
                text = decode(content)
                if isinstance(text, NotText):
                    language, failed = "", Failed(text.rule, text.offset, detail=text.detail)
                else:
                    content = text
                    language, failed = self._judge(path, text)
                if failed is None:
                    digest = hashlib.sha256(content).hexdigest()
                    original = originals.of(repo, path, digest)
                    if original is None:
                        kept.add(row, domain(given, language, content), language, digest, content)
                        continue
                    failed = Failed("exact_duplicate", detail=original)
                drops.add(repo=repo, path=path, language=language, size=size, content=content, **failed._asdict())
            out.write("files", kept.of(batch))
            out.write("dropped", drops.take())

    def _judge(self, path: str, text: bytes) -> tuple[str, Failed | None]:
        language = detect(path, text)
        if language is None:
            return "", Failed("language")
        return language.name, first_failed(File(path, language.name, text), self.params)


@dataclass
class _Originals:
    """The files of the repository at hand by digest: the first path in the crawl's order stands for its copies."""

    repo: str = ""
    paths: dict[str, str] = field(default_factory=dict)

    def of(self, repo: str, path: str, digest: str) -> str | None:
        """The path of the file that this one copies, or None where it is the first of its kind."""
        if repo != self.repo:
            self.repo = repo
            self.paths.clear()
        original = self.paths.setdefault(digest, path)
        return None if original == path else original


@dataclass
class _Kept:
    """The rows of a batch that stay, with the columns that the filter rewrites."""

    rows: list[int] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)

    def add(self, row: int, domain: str, language: str, sha256: str, content: bytes) -> None:
        self.rows.append(row)
        self.domains.append(domain)
        self.languages.append(language)
        self.digests.append(sha256)
        self.contents.append(content)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Those rows of the batch."""
        rewritten = {
            "domain": self.domains,
            "language": self.languages,
            "sha256": self.digests,
            "content": self.contents,
        }
        others = batch.drop_columns(list(rewritten)).take(pa.array(self.rows, pa.int64()))
        columns = [
            pa.array(rewritten[column.name], column.type) if column.name in rewritten else others[column.name]
            for column in FILES
        ]
        return pa.RecordBatch.from_arrays(columns, schema=FILES)
