"""Token shards: fixed-length sequences of uint16 ids, and beside them which document each token belongs to."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Tokenizer

from repoloom.corpus.tables import DROPPED, Drops
from repoloom.engine.step import Accounts, Params, Reader, Sink, Step
from repoloom.errors import InputError
from repoloom.prompts.special_tokens import PAD
from repoloom.stages.pack.best_fit import best_fit

PLACED = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("document", pa.int32(), nullable=False),
        pa.field("piece", pa.int32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("fim", pa.bool_(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),  # number within the task's shard
        pa.field("offset", pa.int64(), nullable=False),  # of the piece's first token in the sequence
        pa.field("size", pa.int64(), nullable=False),  # tokens
    ]
)
"""Where each piece lies, so that every training token can be followed back to its repository."""


class PackParams(Params):
    """The shape of a sequence."""

    sequence_length: int = Field(default=4096, ge=16, le=1 << 16, description="Tokens a sequence.")


class Pack(Step[PackParams]):
    """A shard a task: `shards` holds n * sequence_length uint16 token ids, `index` as many uint16 segment numbers.

    A segment is one piece: numbered from 1 within its sequence, 0 where the sequence is padded.
    """

    name = "pack"
    reads = ("pieces", "mixture", "tokenizer")
    writes: ClassVar = {"shards": None, "index": None, "placed": PLACED, "dropped": DROPPED}
    accounts = Accounts("pieces", kept=("placed",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        thresholds = {row["domain"]: row["threshold"] for row in inputs["mixture"].table().to_pylist()}
        taken: list[pa.RecordBatch] = []
        for batch in inputs["pieces"].batches():
            limits = np.array([thresholds[domain] for domain in batch["domain"].to_pylist()], dtype=np.int64)
            takes = batch["draw"].to_numpy().astype(np.int64) < limits
            out.write("dropped", _dropped(batch.filter(pa.array(~takes)), thresholds))
            taken.append(batch.filter(pa.array(takes)))
        if not any(batch.num_rows for batch in taken):
            return
        pieces = pa.Table.from_batches(taken)
        sizes = pieces["size"].to_numpy()
        sequences = best_fit(sizes, self.params.sequence_length)
        tokens, segments = _lay_out(pieces, sequences, self.params.sequence_length, _pad(inputs["tokenizer"]))
        out.blob("shards", "000.bin", tokens.data.cast("B"), rows=len(sequences))
        out.blob("index", "000.idx", segments.data.cast("B"), rows=len(sequences))
        order = np.fromiter((piece for sequence in sequences for piece in sequence), dtype=np.int64, count=len(sizes))
        numbers = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
        ends = np.cumsum(sizes[order])
        starts = ends - sizes[order]
        firsts = np.searchsorted(numbers, np.arange(len(sequences)))
        offsets = starts - starts[firsts][numbers]
        named = pieces.take(pa.array(order)).select([name for name in PLACED.names if name in pieces.column_names])
        placed = named.append_column("sequence", pa.array(numbers)).append_column("offset", pa.array(offsets))
        out.write("placed", placed.select(PLACED.names).cast(PLACED).combine_chunks())


def _lay_out(
    pieces: pa.Table, sequences: list[list[int]], length: int, pad: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    tokens = np.full((len(sequences), length), pad, dtype="<u2")
    segments = np.zeros((len(sequences), length), dtype="<u2")
    contents = pieces["tokens"].combine_chunks()
    for row, sequence in enumerate(sequences):
        offset = 0
        for segment, piece in enumerate(sequence, start=1):
            ids = np.frombuffer(contents[piece].as_buffer(), dtype="<u2")
            tokens[row, offset : offset + len(ids)] = ids
            segments[row, offset : offset + len(ids)] = segment
            offset += len(ids)
    return tokens, segments


def _pad(tokenizer: Reader) -> int:
    pad: int | None = Tokenizer.from_str(tokenizer.table()["json"][0].as_py().decode()).token_to_id(PAD)
    if pad is None:
        raise InputError(f"the tokenizer has no token {PAD!r}")
    return pad


def _dropped(left: pa.RecordBatch, thresholds: Mapping[str, int]) -> pa.RecordBatch:
    drops = Drops()
    for row in left.select(["repo", "document", "piece", "domain", "draw", "size"]).to_pylist():
        drops.add(
            repo=row["repo"],
            path=f"document {row['document']} piece {row['piece']}",
            language=row["domain"],
            size=row["size"],
            rule="mix",
            value=row["draw"],
            threshold=thresholds[row["domain"]],
            content=b"",
        )
    return drops.take()
