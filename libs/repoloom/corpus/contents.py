"""Where the contents of the files of a batch of documents lie in its one text buffer, path comments left out."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.words import Offsets, Text, as_text


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of the files of a batch, in order: file i is `text.bytes[starts[i]:ends[i]]`."""

    text: Text
    starts: Offsets  # (files,)
    ends: Offsets  # (files,)
    counts: Offsets  # (documents,): how many of the files are each document's
    spans: pa.StructArray  # (files,)


def contents(documents: pa.RecordBatch) -> Contents:
    """Lays out a batch of DOCUMENTS; nothing of the text is copied."""
    column = documents["text"]
    _, offsets, text = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column)].astype(np.int64)
    spans = pc.list_flatten(documents["spans"])
    counts = pc.list_value_length(documents["spans"]).to_numpy().astype(np.int64)
    origins = np.repeat(bounds, counts)
    return Contents(
        text=as_text(text or b""),
        starts=origins + pc.struct_field(spans, "start").to_numpy(),
        ends=origins + pc.struct_field(spans, "end").to_numpy(),
        counts=counts,
        spans=spans,
    )
