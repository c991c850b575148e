"""Taking files out of documents: the text is cut and the spans of what stays move with it."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from repoloom.corpus.tables import DOCUMENTS


class Span(TypedDict):
    """One file in a document's text; the fields of `tables.SPAN`."""

    path: str
    language: str
    blob: str
    sha256: str
    size: int
    head: int
    start: int
    end: int


def keep_spans(text: bytes, spans: Sequence[Span], keep: Iterable[bool]) -> tuple[bytes, list[Span]]:
    """Cuts a document down to some of its files.

    Each kept file takes its path comment before it along, and the line breaks between it and the file that followed it;
    what follows the last file of the document stays the end of the text.

    Args:
        text: the document's text.
        spans: its files, in text order.
        keep: for each of them, whether it stays.

    Returns:
        The new text and its spans. All kept: the same text. None kept: no text and no spans.
    """
    kept = [index for index, stays in zip(range(len(spans)), keep, strict=True) if stays]
    if len(kept) == len(spans):
        return text, list(spans)
    pieces: list[bytes] = []
    moved: list[Span] = []
    length = 0
    for index in kept:
        span = spans[index]
        head, end = span["head"], span["end"]
        after = spans[index + 1]["head"] if index != kept[-1] else end
        shift = length - head
        pieces.append(text[head:after])
        moved.append({**span, "head": length, "start": span["start"] + shift, "end": end + shift})
        length += after - head
    if kept:
        pieces.append(text[spans[-1]["end"] :])
    return b"".join(pieces), moved


def keep_files(documents: pa.RecordBatch, keep: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Cuts a batch of documents down to some of their files; a document left without files vanishes.

    Args:
        documents: rows of `tables.DOCUMENTS`.
        keep: one entry for each span of the batch, document by document (`spans.flatten()` order).
    """
    lists = documents["spans"]
    bounds = lists.offsets.to_numpy() - lists.offsets[0].as_py()
    if len(keep) != bounds[-1]:
        raise ValueError(f"{len(keep)} decisions for {bounds[-1]} files")
    if keep.all() and np.diff(bounds).all():
        return documents
    kept = np.diff(np.concatenate(([0], np.cumsum(keep)))[bounds])
    stays = np.flatnonzero(kept)
    texts: list[bytes] = []
    spans: list[list[Span]] = []
    for row in stays.tolist():
        cut, moved = keep_spans(
            documents["text"][row].as_py(), lists[row].as_py(), keep[bounds[row] : bounds[row + 1]].tolist()
        )
        texts.append(cut)
        spans.append(moved)
    rows = documents.take(pa.array(stays))
    rows = rows.set_column(DOCUMENTS.get_field_index("text"), DOCUMENTS.field("text"), pa.array(texts, pa.binary()))
    return rows.set_column(
        DOCUMENTS.get_field_index("spans"), DOCUMENTS.field("spans"), pa.array(spans, DOCUMENTS.field("spans").type)
    )
