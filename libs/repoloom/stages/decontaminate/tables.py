"""The tables of decontamination."""

import pyarrow as pa

BENCHMARKS = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),  # e.g. "humaneval"
        pa.field("item", pa.string(), nullable=False),  # e.g. "HumanEval/0"; the line where an item has no name
        pa.field("field", pa.string(), nullable=False),  # e.g. "canonical_solution"
        pa.field("text", pa.binary(), nullable=False),  # UTF-8
    ]
)
"""One row a text of a benchmark item."""

HITS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("words", pa.string(), nullable=False),  # what the file has of it, as it stands in the file
    ]
)
"""One row a benchmark text that a dropped file has something of; of each file only the first few."""
