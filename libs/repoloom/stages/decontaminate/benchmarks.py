"""decontaminate.benchmarks: the texts of the test sets as a dataset, so that its manifest says what was looked for."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from repoloom.engine.step import Params, Reader, Shares, Sink, Step
from repoloom.errors import InputError
from repoloom.stages.decontaminate.formats import read_texts
from repoloom.stages.decontaminate.tables import BENCHMARKS


class BenchmarkSource(BaseModel):
    """A file of a benchmark, fixed by its digest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: str
    sha256: str = ""  # of the file; found when the recipe is run, unless it is pinned
    fields: tuple[str, ...] = ()  # that hold text; by default those of formats.TEXT_FIELDS


class BenchmarksParams(Params):
    """The test sets. The paper's are HumanEval, MBPP, GSM8K and MATH."""

    benchmarks: tuple[BenchmarkSource, ...] = Field(default=(), description="Files of test items to look for.")


def pin(source: BenchmarkSource) -> BenchmarkSource:
    """The source with the digest of its file as it is now. Raises InputError where it cannot be read."""
    return source.model_copy(
        update={"sha256": source.sha256 or hashlib.sha256(read_benchmark(source.path)).hexdigest()}
    )


class LoadBenchmarks(Step[BenchmarksParams]):
    """One task: test sets are some MB."""

    name = "decontaminate.benchmarks"
    reads = ()
    writes = {"benchmarks": BENCHMARKS}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{}]

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:  # noqa: ARG002
        for source in self.params.benchmarks:
            content = read_benchmark(source.path)
            if hashlib.sha256(content).hexdigest() != source.sha256:
                raise InputError(f"benchmark {source.name} changed after the run was planned: {source.path}")
            rows = [
                {"benchmark": source.name, "item": item, "field": field, "text": text.encode("utf-8", "replace")}
                for item, field, text in read_texts(content, source.name, source.fields)
            ]
            out.write("benchmarks", pa.RecordBatch.from_pylist(rows, BENCHMARKS))


def read_benchmark(path: str) -> bytes:
    """The content of a benchmark's file. Raises InputError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"benchmark {path} cannot be read: {error.strerror}") from None
