"""Documents to pieces of token ids: cut at line ends to fit a training sequence, half of them with a hole."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from repoloom.engine.step import Params, Reader, Sink, Step
from repoloom.prompts import fim
from repoloom.prompts.special_tokens import BOS, EOS, Segment, SpecialToken
from repoloom.stages.tokenize.encoder import Encoder, Ids

PIECES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("document", pa.int32(), nullable=False),
        pa.field("piece", pa.int32(), nullable=False),  # number within the document, from 0
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("fim", pa.bool_(), nullable=False),  # whether it has a hole
        pa.field("draw", pa.uint32(), nullable=False),  # a uniform draw by which the mix takes or leaves it
        pa.field("start", pa.int64(), nullable=False),  # byte offsets in the document's text
        pa.field("end", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # tokens
        pa.field("tokens", pa.binary(), nullable=False),  # uint16, little-endian
    ]
)

_ROWS = 2048


class EncodeParams(Params):
    """How documents become training sequences."""

    sequence_length: int = Field(default=4096, ge=16, le=1 << 16, description="Tokens a piece may have at most.")
    epochs: int = Field(default=1, ge=1, le=100, description="Passes over the corpus; each draws its holes anew.")
    fim_rate: float = Field(
        default=0.5, ge=0, le=1, description="Share of pieces with a hole (arXiv 2401.14196 section 3.1.2)."
    )
    fim_order: fim.Order = Field(default=fim.Order.PSM, description="How the parts around a hole are laid out.")
    seed: int = Field(default=0, description="Draws the holes, and the order in which the mix takes pieces.")


class Encode(Step[EncodeParams]):
    """Every document, once an epoch. The holes are drawn by (seed, epoch, repository, document, piece)."""

    name = "tokenize"
    reads = ("documents", "tokenizer")
    writes: ClassVar = {"pieces": PIECES}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        encoder = Encoder(inputs["tokenizer"].table()["json"][0].as_py())
        rows: list[dict[str, Any]] = []
        for batch in inputs["documents"].batches():
            columns = (batch[name].to_pylist() for name in ("repo", "document", "domain"))
            for repo, document, domain, text in zip(*columns, batch["text"], strict=True):
                named = {"repo": repo, "document": document, "domain": domain}
                rows.extend({**named, **row} for row in self._document(encoder, repo, document, text.as_py()))
                if len(rows) >= _ROWS:
                    out.write("pieces", pa.RecordBatch.from_pylist(rows, schema=PIECES))
                    rows.clear()
        out.write("pieces", pa.RecordBatch.from_pylist(rows, schema=PIECES))

    def _document(self, encoder: Encoder, repo: str, document: int, content: bytes) -> Iterator[dict[str, Any]]:
        pieces = list(cut(encoder.encode(content.decode()), content, self._budget, encoder.line_break))
        for epoch in range(self.params.epochs):
            for number, piece in enumerate(pieces):
                key = f"{repo}/{document}/{number}"
                ids = (
                    self._with_hole(encoder, key, epoch, content[piece.start : piece.end])
                    if piece.whole_lines
                    else None
                )
                fim_drawn = ids is not None
                if ids is None:
                    ending = [encoder.special[EOS]] if number == len(pieces) - 1 else []
                    ids = np.concatenate(([encoder.special[BOS]], piece.ids, ending)).astype("<u2")
                yield {
                    "piece": number,
                    "epoch": epoch,
                    "fim": fim_drawn,
                    "draw": self._draw(key, epoch),
                    "start": piece.start,
                    "end": piece.end,
                    "size": len(ids),
                    "tokens": ids.tobytes(),
                }

    @property
    def _budget(self) -> int:
        rendered = fim.render("", "", "", self.params.fim_order)
        return self.params.sequence_length - sum(isinstance(segment, SpecialToken) for segment in rendered)

    def _with_hole(self, encoder: Encoder, key: str, epoch: int, content: bytes) -> Ids | None:
        """The ids with a hole; None where none is drawn, or where the cuts take more tokens than a sequence holds."""
        text = content.decode()
        hole = fim.draw(self.params.seed, epoch, key, len(text), self.params.fim_rate)
        if hole is None:
            return None
        start, end = hole
        segments = fim.render(text[:start], text[start:end], text[end:], self.params.fim_order)
        ids = np.concatenate([_segment(encoder, segment) for segment in segments if segment])
        return ids if len(ids) <= self.params.sequence_length else None

    def _draw(self, key: str, epoch: int) -> int:
        counter = f"{self.params.seed}/{epoch}/{key}".encode()
        return int.from_bytes(hashlib.blake2b(counter, digest_size=4, person=b"repoloom.mix").digest(), "big")


@dataclass(frozen=True)
class Piece:
    """Some lines of a document: their ids and where they lie in its text."""

    ids: Ids
    start: int
    end: int
    whole_lines: bool  # a piece of a line longer than a sequence cannot be given a hole: its text has no exact bounds


def cut(ids: Ids, content: bytes, budget: int, line_break: int) -> Iterator[Piece]:
    """Cuts a document's ids after the last line break that fits into `budget` tokens.

    A line break is a token of its own and never part of another, so the n-th in the ids is the n-th in the text.
    """
    token_ends = np.append(np.flatnonzero(ids == line_break) + 1, len(ids))
    byte_ends = np.append(np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n")) + 1, len(content))
    first_token = first_byte = 0
    while first_token < len(ids):
        line = int(np.searchsorted(token_ends, first_token + budget, side="right")) - 1
        if line >= 0 and token_ends[line] > first_token:
            last_token, last_byte = int(token_ends[line]), int(byte_ends[line])
            yield Piece(ids[first_token:last_token], first_byte, last_byte, whole_lines=True)
        else:
            line = int(np.searchsorted(token_ends, first_token, side="right"))
            last_token, last_byte = int(token_ends[line]), int(byte_ends[line])
            for start in range(first_token, last_token, budget):
                yield Piece(ids[start : min(start + budget, last_token)], first_byte, last_byte, whole_lines=False)
        first_token, first_byte = last_token, last_byte


def _segment(encoder: Encoder, segment: Segment) -> Ids:
    if isinstance(segment, SpecialToken):
        return np.array([encoder.special[segment]], dtype="<u2")
    return encoder.encode(segment)
