"""Documents to pieces of token ids: cut at line ends to fit a training sequence, half of them with a hole.

The hole is drawn for each piece. A piece without one ends with EOS where its document ends; a piece with one always
does, since there EOS says that the middle is complete.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from repoloom.engine.step import Params, Reader, Sink, Step
from repoloom.prompts import fim, special_tokens
from repoloom.prompts.special_tokens import SpecialToken
from repoloom.stages.tokenize.encoder import Encoder, Ids, encoder_of

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

_CUT_TOKENS = 8
"""Tokens a piece leaves free for its hole: the words and runs that the two cuts part take a few more tokens."""


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
        encoder = encoder_of(inputs["tokenizer"].table()["json"][0].as_py())
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
                text = content[piece.start : piece.end].decode() if piece.whole_lines else ""
                hole = fim.draw(self.params.seed, epoch, key, len(text), self.params.fim_rate) if text else None
                if hole:
                    ids = self._with_hole(encoder, text, hole)
                else:
                    rendered = fim.without_hole(piece.ids.tolist(), ends=number == len(pieces) - 1)
                    ids = special_tokens.encode(rendered, list[int], encoder.special)
                yield {
                    "piece": number,
                    "epoch": epoch,
                    "fim": hole is not None,
                    "draw": self._draw(key, epoch),
                    "start": piece.start,
                    "end": piece.end,
                    "size": len(ids),
                    "tokens": np.array(ids, dtype="<u2").tobytes(),
                }

    @property
    def _budget(self) -> int:
        rendered = fim.render("", "", "", self.params.fim_order)
        marks = sum(isinstance(segment, SpecialToken) for segment in rendered)
        return self.params.sequence_length - marks - _CUT_TOKENS

    def _with_hole(self, encoder: Encoder, text: str, hole: tuple[int, int]) -> list[int]:
        """The ids with a hole; a hole whose cuts take too many tokens grows to whole lines, where cuts take none."""
        ids = self._cut_out(encoder, text, *hole)
        if len(ids) <= self.params.sequence_length:
            return ids
        start, end = hole
        return self._cut_out(encoder, text, text.rfind("\n", 0, start) + 1, text.find("\n", end - 1) + 1 or len(text))

    def _cut_out(self, encoder: Encoder, text: str, start: int, end: int) -> list[int]:
        rendered = fim.render(text[:start], text[start:end], text[end:], self.params.fim_order)
        return special_tokens.encode(rendered, lambda part: encoder.encode(part).tolist(), encoder.special)

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
