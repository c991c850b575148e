"""The quality step: each file of a document is parsed and scored, and leaves the document where it fails."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from repoloom.corpus.spans import keep_files
from repoloom.corpus.tables import DOCUMENTS, DROPPED, Drops
from repoloom.engine.step import Accounts, Params, Reader, Sink, Step
from repoloom.stages.quality import style
from repoloom.stages.quality.isolated import error_shares
from repoloom.stages.quality.syntax import grammar_of

SCORES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("syntax", pa.string(), nullable=False),  # "valid", "invalid" or "unknown"
        pa.field("error_share", pa.float64(), nullable=True),  # of the file's bytes; null where the parser did not say
        pa.field("score", pa.float64(), nullable=False),  # of style, from 0 to 1
    ]
)
"""One row a file that entered, whether it stays or not."""


class QualityParams(Params):
    """What a file may show, and how much of one is parsed."""

    max_error_share: float = Field(default=0.1, ge=0, le=1, description="Share of bytes with syntax errors, at most.")
    """Headers full of macros parse with a few errors though they compile: of C files in /usr/include, 9 in 100 exceed a
    twentieth and 6 in 100 a tenth; of samples in Python, Java, JavaScript, Go, Rust, Ruby and C++, none does."""
    min_score: float = Field(default=0.2, ge=0, le=1, description="Score of how a file is written, at least.")
    """Below it are 2 to 8 in 1000 files of installed libraries: tables, maps of names, packages all of comment."""
    max_parsed_bytes: int = Field(default=128 * 1024, ge=0, description="Larger files are not parsed.")
    """Larger files are of unknown syntax: on hostile input some grammars take time quadratic in the length."""


class Syntax(NamedTuple):
    """What the parser says of a file."""

    verdict: str
    error_share: float | None = None


class Failed(NamedTuple):
    """The rule by which a file is dropped, in the words of `tables.DROPPED`."""

    rule: str
    value: float | None
    threshold: float
    detail: str


class File(NamedTuple):
    """One file of a batch of documents."""

    repo: str
    path: str
    language: str
    size: int
    text: bytes


class Quality(Step[QualityParams]):
    """Drops files by `syntax` or `score`, and cuts the documents accordingly."""

    name = "quality"
    version = 2
    reads = ("documents",)
    writes: ClassVar = {"documents": DOCUMENTS, "scores": SCORES, "dropped": DROPPED}
    accounts = Accounts("documents", kept=("documents",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        drops = Drops()
        for documents in inputs["documents"].batches():
            files = _files(documents)
            keep = np.ones(len(files), np.bool_)
            rows = []
            for number, (file, syntax) in enumerate(zip(files, self._syntax(files), strict=True)):
                score, worst = style.score(file.text, file.language)
                rows.append((file.repo, file.path, file.language, *syntax, score))
                if failed := self._failed(syntax, score, worst):
                    keep[number] = False
                    repo, path, language, size, text = file
                    drops.add(repo=repo, path=path, language=language, size=size, content=text, **failed._asdict())
            out.write("documents", keep_files(documents, keep))
            out.write("scores", pa.RecordBatch.from_arrays(_columns(rows, SCORES), schema=SCORES))
            out.write("dropped", drops.take())

    def _failed(self, syntax: Syntax, score: float, worst: str) -> Failed | None:
        if syntax.verdict == "invalid":
            detail = "the parser gave up" if syntax.error_share is None else ""
            return Failed("syntax", syntax.error_share, self.params.max_error_share, detail)
        if score < self.params.min_score:
            return Failed("score", score, self.params.min_score, worst)
        return None

    def _syntax(self, files: list[File]) -> list[Syntax]:
        """The verdict on each file. A file that the parser gave up is invalid: it took more than honest code takes."""
        grammars = [grammar_of(file.path, file.language) for file in files]
        parsed = [
            (number, (file.text, grammar))
            for number, (file, grammar) in enumerate(zip(files, grammars, strict=True))
            if grammar and len(file.text) <= self.params.max_parsed_bytes
        ]
        verdicts = [Syntax("unknown")] * len(files)
        shares = error_shares([source for _, source in parsed])
        for (number, _), share in zip(parsed, shares, strict=True):
            valid = share is not None and share <= self.params.max_error_share
            verdicts[number] = Syntax("valid" if valid else "invalid", share)
        return verdicts


def _files(documents: pa.RecordBatch) -> list[File]:
    """The files of a batch, document by document."""
    from repoloom.corpus.contents import contents  # it imports numba, which takes a second

    layout = contents(documents)
    repos = np.repeat(np.array(documents["repo"].to_pylist(), object), layout.counts).tolist()
    columns = (pc.struct_field(layout.spans, name).to_pylist() for name in ("path", "language", "size"))
    text = layout.text.bytes
    texts = (text[start:end].tobytes() for start, end in zip(layout.starts, layout.ends, strict=True))
    return list(map(File, repos, *columns, texts))


def _columns(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> list[pa.Array]:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
