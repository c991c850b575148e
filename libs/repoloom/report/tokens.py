"""Tokens: the vocabulary, the bytes that a token stands for, how pieces fill the training sequences, the mixture."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repoloom.corpus.manifest import Record
from repoloom.report.tables import Tables

_BINS = 16  # of the histogram of piece lengths


class Vocabulary(Record):
    """The tokenizer and what it was trained on."""

    size: int
    sample_bytes: int
    sample_documents: int


class LanguageTokens(Record):
    """The tokens of the documents that are mostly of one language, in the first epoch."""

    name: str
    tokens: int
    bytes: int


class Domain(Record):
    """A domain's part of the mixture, in tokens."""

    domain: str
    weight: float
    available: int
    taken: int


class Packing(Record):
    """How full the training sequences are."""

    sequences: int
    sequence_length: int
    pieces: int
    tokens: int

    @property
    def padding(self) -> float:
        """Share of the positions that hold no token."""
        return 1 - self.tokens / (self.sequences * self.sequence_length)


class Tokens(Record):
    """What tokenization, mixing and packing made."""

    vocabulary: Vocabulary
    tokens: int
    pieces: int
    with_hole: int  # pieces rendered for infilling
    lengths: tuple[int, ...]  # pieces by their length, in equal bins up to the sequence length
    sequence_length: int
    languages: tuple[LanguageTokens, ...]
    mixture: tuple[Domain, ...]
    packing: Packing | None


def tokens(tables: Tables) -> Tokens | None:
    """What the tables say; None where nothing was tokenized."""
    holder = tables.holder("pieces")
    vocabulary = next(tables.rows("tokenizer", ["vocab_size", "sample_bytes", "sample_documents"]), None)
    if holder is None or vocabulary is None:
        return None
    length = _integer(holder.manifest.params, "sequence_length")
    bins: NDArray[np.int64] = np.zeros(_BINS, np.int64)
    total = pieces = with_hole = 0
    for batch in tables.batches("pieces", ["size", "fim"]):
        sizes = batch["size"].to_numpy()
        bins += np.bincount(np.minimum((sizes - 1) * _BINS // length, _BINS - 1), minlength=_BINS)
        total += int(sizes.sum())
        pieces += len(sizes)
        with_hole += batch["fim"].true_count
    return Tokens(
        vocabulary=Vocabulary(
            size=vocabulary["vocab_size"],
            sample_bytes=vocabulary["sample_bytes"],
            sample_documents=vocabulary["sample_documents"],
        ),
        tokens=total,
        pieces=pieces,
        with_hole=with_hole,
        lengths=tuple(bins.tolist()),
        sequence_length=length,
        languages=_languages(tables),
        mixture=tuple(Domain(**row) for row in tables.rows("mixture", list(Domain.model_fields))),
        packing=_packing(tables),
    )


def _packing(tables: Tables) -> Packing | None:
    holder = tables.holder("shards")
    if holder is None or not (sequences := tables.count("shards")):
        return None
    placed = holder.manifest.ledger.total_kept
    return Packing(
        sequences=sequences,
        sequence_length=_integer(holder.manifest.params, "sequence_length"),
        pieces=placed.items,
        tokens=placed.size,
    )


def _languages(tables: Tables) -> tuple[LanguageTokens, ...]:
    """Tokens and bytes by the language that most of a document's bytes are of.

    Pieces lie in the order of the documents they were cut from, so the two tables are read side by side.
    """
    totals: dict[str, tuple[int, int]] = {}
    documents = _document_languages(tables)
    document, language, end = ("", -1), "", 0
    for piece in tables.rows("pieces", ["repo", "document", "epoch", "start", "end", "size"]):
        if piece["epoch"]:
            continue
        key = piece["repo"], piece["document"]
        if key != document:
            document, end = key, 0
            language = next((found for other, found in documents if other == key), "")
        size = max(0, piece["end"] - max(piece["start"], end))  # pieces of one long line share its bounds
        end = max(end, piece["end"])
        counted, bytes_ = totals.get(language, (0, 0))
        totals[language] = counted + piece["size"], bytes_ + size
    by_tokens = sorted(totals.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(LanguageTokens(name=name, tokens=count, bytes=size) for name, (count, size) in by_tokens)


def _document_languages(tables: Tables) -> Iterator[tuple[tuple[str, int], str]]:
    for row in tables.rows("documents", ["repo", "document", "spans"]):
        sizes: dict[str, int] = {}
        for span in row["spans"]:
            sizes[span["language"]] = sizes.get(span["language"], 0) + span["end"] - span["start"]
        yield (row["repo"], row["document"]), max(sizes, key=lambda name: (sizes[name], name), default="")


def _integer(params: Mapping[str, Any], name: str) -> int:
    return int(params[name])
