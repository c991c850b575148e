from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryReader, MemorySink
from tokenizers import Tokenizer

from repoloom.corpus.tables import DOCUMENTS
from repoloom.prompts.fim import Order
from repoloom.prompts.special_tokens import BOS, EOS, FIM_BEGIN, FIM_END, FIM_HOLE, SpecialToken
from repoloom.stages.tokenize import encode as module
from repoloom.stages.tokenize.encode import Encode, EncodeParams, cut
from repoloom.stages.tokenize.encoder import Encoder

LINES = st.lists(
    st.sampled_from(
        ["", "x = 1", "    return [i for i in range(10)]", "# 中文注释：返回结果。", "e\u0301🧵", "\r", "y" * 40]
    ),
    max_size=25,
)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))


@given(TEXTS, st.integers(1, 40))
def test_a_document_is_cut_at_line_ends_into_pieces_within_the_budget(encoder: Encoder, text: str, budget: int) -> None:
    ids, content = encoder.encode(text), text.encode()
    pieces = list(cut(ids, content, budget, encoder.line_break))
    assert np.array_equal(np.concatenate([*(piece.ids for piece in pieces), ids[:0]]), ids)
    assert all(0 < len(piece.ids) <= budget for piece in pieces)
    ranges = list(dict.fromkeys((piece.start, piece.end) for piece in pieces))
    assert b"".join(content[start:end] for start, end in ranges) == content
    assert all(end == len(content) or content[end - 1 : end] == b"\n" for _, end in ranges)
    for (start, end), group in groupby(pieces, lambda piece: (piece.start, piece.end)):
        same = list(group)
        whole = encoder.encode(content[start:end].decode())
        assert np.array_equal(np.concatenate([piece.ids for piece in same]), whole)
        assert all(piece.whole_lines == (len(whole) <= budget) for piece in same)
        assert len(whole) <= budget or content.count(b"\n", start, end - 1) == 0, "only a single line is cut within"


@given(TEXTS, st.integers(1, 40))
def test_a_piece_holds_as_many_lines_as_fit(encoder: Encoder, text: str, budget: int) -> None:
    content = text.encode()
    pieces = list(cut(encoder.encode(text), content, budget, encoder.line_break))
    for piece in pieces:
        if piece.whole_lines and piece.end < len(content):
            next_line = content[piece.end :].split(b"\n", 1)[0].decode()
            more = encoder.encode(next_line + "\n" * (b"\n" in content[piece.end :]))
            assert len(piece.ids) + len(more) > budget


def _documents(texts: Sequence[str]) -> pa.Table:
    cells = {"revision": "1", "license": "", "domain": "code", "spans": []}
    rows = [
        {"repo": f"repo{number // 3}", "document": number % 3, "text": text.encode(), **cells}
        for number, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def _encode(
    tokenizer: Mapping[str, MemoryReader], texts: Sequence[str], batch_rows: int = 3, **params: Any
) -> list[dict[str, Any]]:
    sink = MemorySink()
    Encode(EncodeParams(**params)).run({"documents": MemoryReader(_documents(texts), batch_rows), **tokenizer}, sink)
    return sink.table("pieces").to_pylist()


def _ids(piece: Mapping[str, Any]) -> list[int]:
    return np.frombuffer(piece["tokens"], "<u2").tolist()


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(TEXTS, max_size=5),
    length=st.integers(16, 64),
    order=st.sampled_from(Order),
    rate=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_pieces_put_in_order_decode_to_their_documents(
    tokenizer_table: Mapping[str, MemoryReader],
    encoder: Encoder,
    hugging_face: Tokenizer,
    texts: list[str],
    length: int,
    order: Order,
    rate: float,
) -> None:
    special = encoder.special

    def split(ids: list[int], *marks: SpecialToken) -> list[list[int]]:
        """What lies between special tokens that come in this order."""
        between = []
        for mark in marks:
            place = ids.index(special[mark])
            between.append(ids[:place])
            ids = ids[place + 1 :]
        return [*between, ids]

    def in_order(piece: dict[str, Any]) -> list[int]:
        """The ids of a piece's text, in the order of the text."""
        bos, *ids = _ids(piece)
        assert bos == special[BOS]
        if not piece["fim"]:
            return ids[:-1] if ids[-1:] == [special[EOS]] else ids
        assert ids.pop() == special[EOS]
        match order:
            case Order.PSM:
                nothing, prefix, suffix, middle = split(ids, FIM_BEGIN, FIM_HOLE, FIM_END)
                assert nothing == []
                return prefix + middle + suffix
            case Order.SPM:  # where the prefix ends and the middle begins is not marked
                *nothing, suffix, prefix_and_middle = split(ids, FIM_BEGIN, FIM_HOLE, FIM_END)
                assert nothing == [[], []]
                return prefix_and_middle + suffix
            case Order.MSP:
                prefix, suffix, nothing, middle = split(ids, FIM_HOLE, FIM_END, FIM_HOLE)
                assert nothing == []
                return prefix + middle + suffix

    pieces = _encode(tokenizer_table, texts, sequence_length=length, fim_order=order, fim_rate=rate)
    for number, text in enumerate(texts):
        mine = [piece for piece in pieces if (piece["repo"], piece["document"]) == (f"repo{number // 3}", number % 3)]
        assert [piece["piece"] for piece in mine] == list(range(len(mine)))
        ids = [token for piece in mine for token in in_order(piece)]
        assert set(ids).isdisjoint(special.values())
        assert hugging_face.decode(ids) == text
        for piece in mine:
            assert piece["size"] == len(_ids(piece)) <= length
            assert rate or not piece["fim"]
        if mine and not mine[-1]["fim"]:
            assert _ids(mine[-1])[-1] == special[EOS], "the last piece of a document says that it ends"


def test_pieces_depend_on_no_batch(tokenizer_table: Mapping[str, MemoryReader], sources: list[str]) -> None:
    texts = [line for source in sources for line in source.split("\n\n")]
    assert len(texts) > 50
    wanted = _encode(tokenizer_table, texts, sequence_length=128)
    for batch_rows in (1, 7, 1000):
        assert _encode(tokenizer_table, texts, batch_rows, sequence_length=128) == wanted


def test_a_document_is_encoded_the_same_whatever_lies_beside_it(
    tokenizer_table: Mapping[str, MemoryReader], sources: list[str]
) -> None:
    alone = _encode(tokenizer_table, sources[:1], sequence_length=64)
    assert _encode(tokenizer_table, sources, sequence_length=64)[: len(alone)] == alone


def test_each_epoch_and_each_seed_draws_its_holes_anew(
    tokenizer_table: Mapping[str, MemoryReader], sources: list[str]
) -> None:
    pieces = _encode(tokenizer_table, sources, sequence_length=128, epochs=3)
    by_epoch = [[piece for piece in pieces if piece["epoch"] == epoch] for epoch in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pairs = list(zip(by_epoch[one], by_epoch[other], strict=True))
        assert all((a["start"], a["end"]) == (b["start"], b["end"]) for a, b in pairs)
        assert any(a["fim"] != b["fim"] for a, b in pairs)
        assert any(a["fim"] and b["fim"] and a["tokens"] != b["tokens"] for a, b in pairs)
        assert all(a["draw"] != b["draw"] for a, b in pairs)
    assert _encode(tokenizer_table, sources, sequence_length=128) == by_epoch[0]
    other_seed = _encode(tokenizer_table, sources, sequence_length=128, seed=1)
    assert [piece["tokens"] for piece in other_seed] != [piece["tokens"] for piece in by_epoch[0]]


@pytest.mark.parametrize("order", Order)
def test_half_of_the_pieces_that_fill_a_sequence_have_a_hole(
    tokenizer_table: Mapping[str, MemoryReader], sources: list[str], order: Order
) -> None:
    lines = "".join(sources).splitlines(keepends=True)
    short = "".join(line[:20].rstrip("\n") + "\n" for line in lines)  # so that a piece leaves hardly any room
    pieces = _encode(tokenizer_table, [short], sequence_length=128, epochs=50, fim_order=order)
    full = [piece for piece in pieces if piece["size"] > 100]
    assert len(full) > 1500
    assert 0.47 < sum(piece["fim"] for piece in full) / len(full) < 0.53


def test_a_hole_whose_cuts_take_too_many_tokens_grows_to_whole_lines(
    tokenizer_table: Mapping[str, MemoryReader], encoder: Encoder, monkeypatch: pytest.MonkeyPatch, sources: list[str]
) -> None:
    monkeypatch.setattr(module, "_CUT_TOKENS", 0)
    pieces = _encode(tokenizer_table, sources, sequence_length=64, fim_rate=1)
    assert max(piece["size"] for piece in pieces) == 64
    contents = [source.encode() for source in sources]
    for piece in pieces:
        content = contents[int(piece["repo"].removeprefix("repo")) * 3 + piece["document"]]
        text = content[piece["start"] : piece["end"]].decode()
        assert piece["fim"] or len(encoder.encode(text)) > 59, "only a line longer than a sequence has no hole"


@pytest.mark.parametrize("text", ["", "\n", "x" * 10_000, "x" * 10_000 + "\n" + "y"])
def test_documents_of_no_lines_or_of_endless_ones_are_encoded_whole(
    tokenizer_table: Mapping[str, MemoryReader], hugging_face: Tokenizer, text: str
) -> None:
    pieces = _encode(tokenizer_table, [text], sequence_length=32, fim_rate=0)
    assert hugging_face.decode([token for piece in pieces for token in _ids(piece)]) == text
