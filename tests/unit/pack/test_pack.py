from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink
from tokenizers import AddedToken, Tokenizer, models

from repoloom.errors import InputError
from repoloom.prompts.special_tokens import ALL, PAD
from repoloom.stages.pack.step import PLACED, Pack, PackParams

PIECES = pa.schema(
    [field for field in PLACED if field.name not in ("sequence", "offset", "size")]
    + [("draw", pa.uint32()), ("size", pa.int64()), ("tokens", pa.binary())]
)
THRESHOLDS = {"code": 1 << 31, "english": 1 << 32, "poetry": 0}
LENGTH = 16
SIZES = st.lists(
    st.tuples(st.sampled_from(list(THRESHOLDS)), st.integers(1, LENGTH), st.integers(0, (1 << 32) - 1)), max_size=40
)


def _tokenizer(tokens: Sequence[str]) -> MemoryReader:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens])
    return MemoryReader(pa.table({"json": [tokenizer.to_str().encode()]}))


def _pieces(drawn: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
    return [
        {
            "repo": f"repo{number // 5}",
            "document": number // 2,
            "piece": number % 2,
            "epoch": 0,
            "domain": domain,
            "fim": bool(number % 3),
            "draw": draw,
            "size": size,
            "tokens": (np.arange(size) + 100 + number).astype("<u2").tobytes(),
        }
        for number, (domain, size, draw) in enumerate(drawn)
    ]


def _pack(pieces: Sequence[dict[str, Any]], tokens: Sequence[str] = ALL, batch_rows: int = 3) -> MemorySink:
    mixture = pa.table({"domain": list(THRESHOLDS), "threshold": list(THRESHOLDS.values())})
    inputs = {
        "pieces": MemoryReader(pa.Table.from_pylist(list(pieces), schema=PIECES), batch_rows),
        "mixture": MemoryReader(mixture),
        "tokenizer": _tokenizer(tokens),
    }
    sink = MemorySink()
    Pack(PackParams(sequence_length=LENGTH)).run(inputs, sink)
    return sink


@settings(deadline=None)
@given(SIZES)
def test_every_piece_that_the_mix_takes_lies_where_it_is_said_to_and_the_rest_is_padding(
    drawn: list[tuple[str, int, int]],
) -> None:
    pieces = _pieces(drawn)
    takes = [piece["draw"] < THRESHOLDS[piece["domain"]] for piece in pieces]
    taken = [piece for piece, takes_it in zip(pieces, takes, strict=True) if takes_it]
    sink = _pack(pieces)
    if not taken:
        assert sink.raw == {}
        return
    placed = sink.table("placed").to_pylist()
    tokens = np.frombuffer(sink.raw["shards", "000.bin"], "<u2").reshape(-1, LENGTH)
    segments = np.frombuffer(sink.raw["index", "000.idx"], "<u2").reshape(-1, LENGTH)
    assert tokens.shape == segments.shape

    def who(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["repo"], row["document"], row["piece"], row["domain"], row["fim"], row["epoch"], row["size"]

    assert sorted(map(who, placed)) == sorted(map(who, taken))
    wanted = {(piece["document"], piece["piece"]): piece["tokens"] for piece in taken}
    covered = np.zeros_like(segments)
    for row in placed:
        where = (row["sequence"], slice(row["offset"], row["offset"] + row["size"]))
        assert tokens[where].tobytes() == wanted[row["document"], row["piece"]]
        assert len(set(segments[where].tolist())) == 1
        covered[where] += 1
    assert np.array_equal(covered, segments > 0), "each token is of one piece, or padding"
    assert set(tokens[segments == 0].tolist()) <= {ALL.index(PAD)}
    for row in segments.tolist():
        filled = [segment for segment in row if segment]
        assert filled == sorted(filled)
        assert set(filled) == set(range(1, max(filled) + 1))
        assert row == filled + [0] * (LENGTH - len(filled)), "a sequence is padded at its end"


@given(SIZES)
def test_every_piece_is_kept_or_dropped_by_the_mix(drawn: list[tuple[str, int, int]]) -> None:
    pieces = _pieces(drawn)
    sink = _pack(pieces)
    dropped = sink.table("dropped").to_pylist() if pieces else []
    kept = sink.table("placed").to_pylist() if sink.raw else []
    assert len(kept) + len(dropped) == len(pieces)
    assert sum(row["size"] for row in kept + dropped) == sum(size for _, size, _ in drawn)
    for row in dropped:
        assert row["rule"] == "mix"
        assert row["threshold"] == THRESHOLDS[row["language"]] <= row["value"]


@settings(deadline=None, max_examples=30)
@given(SIZES)
def test_a_shard_depends_on_no_batch(drawn: list[tuple[str, int, int]]) -> None:
    assert _pack(_pieces(drawn), batch_rows=1).raw == _pack(_pieces(drawn), batch_rows=1000).raw


def test_a_tokenizer_without_a_padding_token_is_refused() -> None:
    with pytest.raises(InputError, match="the tokenizer has no token"):
        _pack(_pieces([("english", 3, 0)]), tokens=["<s>"])
