"""Bytes a token by language, lengths of pieces, padding, the mixture."""

from report.written import (
    DOCUMENTS,
    MIXTURE,
    PIECES,
    PLACED,
    TOKENIZER,
    Writer,
    document,
    piece,
    row,
)

from repoloom.corpus.dataset import Dataset
from repoloom.report.tables import Tables
from repoloom.report.tokens import Tokens, tokens


def tokenized(write: Writer, documents: list[dict[str, object]], pieces: list[dict[str, object]]) -> list[Dataset]:
    return [
        write("split", {"documents": (DOCUMENTS, documents)}),
        write("tokenize.vocabulary", {"tokenizer": (TOKENIZER, [row(TOKENIZER, vocab_size=300, sample_bytes=9)])}),
        write("tokenize", {"pieces": (PIECES, pieces)}, params={"sequence_length": 32}),
    ]


def gathered(datasets: list[Dataset]) -> Tokens:
    found = tokens(Tables(datasets))
    assert found is not None
    return found


def test_pieces_are_counted_for_the_language_of_their_document(write: Writer) -> None:
    documents = [document("a", 0, ["x.py"], 40), document("a", 1, ["y.c"], 30, "C"), document("b", 0, ["z.py"], 20)]
    pieces = [
        piece("a", 0, 0, 0, 25, 5),
        piece("a", 0, 1, 25, 40, 5),
        piece("a", 1, 0, 0, 30, 15),
        piece("b", 0, 0, 0, 20, 10),
    ]
    found = gathered(tokenized(write, documents, pieces))
    assert [(its.name, its.tokens, its.bytes) for its in found.languages] == [("Python", 20, 60), ("C", 15, 30)]


def test_a_document_that_gave_no_piece_does_not_shift_the_others(write: Writer) -> None:
    documents = [document("a", 0, ["x.c"], 40, "C"), document("b", 0, ["z.py"], 20)]
    found = gathered(tokenized(write, documents, [piece("b", 0, 0, 0, 20, 10)]))
    assert [(its.name, its.bytes) for its in found.languages] == [("Python", 20)]


def test_the_bytes_of_a_long_line_in_many_pieces_count_once(write: Writer) -> None:
    pieces = [piece("a", 0, number, 0, 90, 32) for number in range(3)]
    (python,) = gathered(tokenized(write, [document("a", 0, ["x.py"], 90)], pieces)).languages
    assert (python.tokens, python.bytes) == (96, 90)


def test_later_epochs_do_not_count_for_bytes_a_token(write: Writer) -> None:
    pieces = [piece("a", 0, 0, 0, 90, 30, epoch=epoch, fim=epoch == 1) for epoch in range(2)]
    found = gathered(tokenized(write, [document("a", 0, ["x.py"], 90)], pieces))
    assert (found.languages[0].tokens, found.tokens, found.pieces, found.with_hole) == (30, 60, 2, 1)


def test_lengths_fall_into_equal_bins_up_to_the_sequence_length(write: Writer) -> None:
    pieces = [piece("a", 0, number, 0, 0, size) for number, size in enumerate([1, 2, 3, 31, 32])]
    lengths = gathered(tokenized(write, [document("a", 0, ["x.py"])], pieces)).lengths
    assert (lengths[0], lengths[1], lengths[-1], sum(lengths)) == (2, 1, 2, 5)


def test_padding_is_what_no_piece_fills(write: Writer) -> None:
    datasets = tokenized(write, [document("a", 0, ["x.py"])], [piece("a", 0, 0, 0, 10, 24)])
    mixture = [row(MIXTURE, domain="code", weight=1.0, available=30, taken=24)]
    datasets += [
        write("mix", {"mixture": (MIXTURE, mixture)}),
        write(
            "pack",
            {"shards": (None, b"\0"), "placed": (PLACED, [row(PLACED, size=24)])},
            params={"sequence_length": 32},
            inputs=["pieces"],
            kept=("placed",),
            entering=(1, 24),
        ),
    ]
    found = gathered(datasets)
    assert found.packing is not None
    assert found.packing.padding == 0.25
    assert [(domain.domain, domain.taken) for domain in found.mixture] == [("code", 24)]


def test_without_a_tokenizer_there_are_no_tokens(write: Writer) -> None:
    assert tokens(Tables([write("split", {"documents": (DOCUMENTS, [])})])) is None
