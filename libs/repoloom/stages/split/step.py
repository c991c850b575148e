"""Whole repositories are held out, and files that are byte-for-byte copies of held-out ones leave the training side."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from repoloom.corpus.spans import keep_spans
from repoloom.corpus.tables import DOCUMENTS, DROPPED, Drops
from repoloom.engine.step import Accounts, Params, Reader, Shares, Sink, Step

HELD_OUT_FILES = pa.schema([pa.field("sha256", pa.string(), nullable=False)])


class SplitParams(Params):
    """Which repositories are held out."""

    fraction: float = Field(default=0.005, ge=0, lt=1, description="Share of repositories to hold out for evaluation.")
    seed: int = Field(default=0, description="Draws the repositories.")


def is_held_out(repo: str, params: SplitParams) -> bool:
    """Whether a repository is held out: a function of its name and the seed, whatever else the corpus holds."""
    draw = hashlib.blake2b(f"{params.seed}/{repo}".encode(), digest_size=8, person=b"repoloom.split").digest()
    return int.from_bytes(draw, "big") < params.fraction * 2**64


class HeldOut(Step[SplitParams]):
    """Takes the held-out repositories' documents, and the digests of their files."""

    name = "split.heldout"
    reads = ("documents",)
    writes: ClassVar = {"heldout": DOCUMENTS, "heldout_files": HELD_OUT_FILES}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        for repository in inputs["documents"].repositories():
            if is_held_out(repository["repo"][0].as_py(), self.params):
                out.write("heldout", repository)
                digests = pc.struct_field(pc.list_flatten(repository["spans"]), "sha256")
                out.write("heldout_files", pa.table({"sha256": digests}, schema=HELD_OUT_FILES))


class HeldOutFiles(Step[SplitParams]):
    """One task: gathers the digests, each once, so that every task of `split` reads one part and not one a task before.

    Holds all of them: some 150 bytes a distinct held-out file.
    """

    name = "split.files"
    reads = ("heldout_files",)
    writes: ClassVar = {"heldout_files": HELD_OUT_FILES}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002 - always one task
        yield {"heldout_files": tables["heldout_files"]}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        digests = {digest for batch in inputs["heldout_files"].batches() for digest in batch["sha256"].to_pylist()}
        out.write("heldout_files", pa.table({"sha256": sorted(digests)}, schema=HELD_OUT_FILES))


class Split(Step[SplitParams]):
    """What is left to count and train on."""

    name = "split"
    reads = ("documents", "heldout_files")
    writes: ClassVar = {"documents": DOCUMENTS, "dropped": DROPPED}
    accounts = Accounts("documents", kept=("documents",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        held_out_files = {
            digest for batch in inputs["heldout_files"].batches() for digest in batch["sha256"].to_pylist()
        }
        drops = Drops()
        for batch in inputs["documents"].batches():
            rows = []
            for row in batch.to_pylist():
                held_out = is_held_out(row["repo"], self.params)
                keep = np.array(
                    [not held_out and span["sha256"] not in held_out_files for span in row["spans"]], dtype=bool
                )
                if keep.all() and not held_out:
                    rows.append(row)
                    continue
                rule = "held_out" if held_out else "copy_of_held_out"
                for span in (span for span, kept in zip(row["spans"], keep, strict=True) if not kept):
                    drops.add(
                        repo=row["repo"],
                        path=span["path"],
                        language=span["language"],
                        size=span["size"],
                        rule=rule,
                        content=row["text"][span["start"] : span["end"]],
                    )
                if keep.any():
                    text, spans = keep_spans(row["text"], row["spans"], keep)
                    rows.append({**row, "text": text, "spans": spans})
            out.write("documents", pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS))
            out.write("dropped", drops.take())
