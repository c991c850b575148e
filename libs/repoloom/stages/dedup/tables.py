"""The tables between the steps of deduplication."""

import pyarrow as pa

_LANDMARK = pa.struct([pa.field("digest", pa.uint64(), nullable=False), pa.field("path", pa.string(), nullable=False)])

SIGNATURES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("files", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # of the files' contents
        pa.field("words", pa.int64(), nullable=False),
        pa.field("shingles", pa.int64(), nullable=False),  # distinct ones; an estimate where the sketch is full
        pa.field("sketch", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),  # ascending
        pa.field("buckets", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),  # one each band
        pa.field("landmarks", pa.list_(pa.field("item", _LANDMARK, nullable=False)), nullable=False),
    ]
)
"""One row a repository, in the order of the documents: about 8 KiB with a sketch of 1024."""

NUMBERS = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.int64(), nullable=False)])
"""Powers of two, a part each; see stages.dedup.numbers."""

BANDED = pa.schema(
    [
        pa.field("bucket", pa.uint64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
    ]
)
"""One row a repository and band, sent to the partition of the bucket."""

SOURCES = pa.schema(
    [pa.field("source", pa.string(), nullable=False), pa.field("repositories", pa.int64(), nullable=False)]
)
"""One row a source and partition."""

CANDIDATES = pa.schema([pa.field("left", pa.uint64(), nullable=False), pa.field("right", pa.uint64(), nullable=False)])
"""Pairs of ids that share a bucket, the one that would survive on the left; sent to the partition of the right."""

REQUESTS = pa.schema([pa.field("left", pa.uint64(), nullable=False), pa.field("to", pa.uint64(), nullable=False)])
"""The sketch `left` is wanted in the partition `to`; sent to the partition of the left."""

SHIPPED = pa.schema(
    [
        pa.field("left", pa.uint64(), nullable=False),
        *(SIGNATURES.field(name) for name in ("repo", "words", "bytes", "sketch", "landmarks")),
    ]
)
"""What was wanted, sent to where it is."""

EDGES = pa.schema(
    [
        pa.field("right", pa.uint64(), nullable=False),
        pa.field("left", pa.uint64(), nullable=False),
        pa.field("left_words", pa.int64(), nullable=False),
        pa.field("left_digest", pa.uint64(), nullable=False),  # of its name
    ]
)
"""The pairs that are similar enough; one part a partition, in the order of the right, then of the left's preference."""

_SHARED = pa.list_(
    pa.field(
        "item",
        pa.struct(
            [pa.field("path", pa.string(), nullable=False), pa.field("survivor_path", pa.string(), nullable=False)]
        ),
        nullable=False,
    )
)

EVIDENCE = pa.schema(
    [
        pa.field("right", pa.uint64(), nullable=False),
        pa.field("left", pa.uint64(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("left_repo", pa.string(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("left_words", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("left_bytes", pa.int64(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
        pa.field("error", pa.float64(), nullable=False),
        pa.field("shared", _SHARED, nullable=False),
    ]
)
"""What is known of each edge; rows as in EDGES."""

VERDICTS = pa.schema(
    [
        pa.field("right", pa.uint64(), nullable=False),
        pa.field("left", pa.uint64(), nullable=False),
        pa.field("cluster", pa.int64(), nullable=False),
        pa.field("first", pa.bool_(), nullable=False),  # of its cluster: the survivor is listed before it
    ]
)
"""`right` is removed for `left`; sent to the partition of the right."""

CLUSTERS = pa.schema(
    [
        pa.field("cluster", pa.int64(), nullable=False),  # number of the cluster, largest survivor first
        pa.field("repo", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),  # itself, for the one that survives
        pa.field("similarity", pa.float64(), nullable=False),  # to the survivor, directly
        pa.field("error", pa.float64(), nullable=False),  # standard error of the similarity, 0 where it is exact
        pa.field("linked", pa.string(), nullable=False),  # what it is most similar to of all it was compared with that
        pa.field("linked_similarity", pa.float64(), nullable=False),  # was preferred to it; itself, if it survives
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("shared", _SHARED, nullable=False),  # files equal word for word
    ]
)
"""One row a repository of a cluster, which is a survivor and those that are removed for it; in the order of the
documents but for the survivor, which stands before the first of the others."""

REMOVALS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
    ]
)
"""One row a removed repository; one part a partition."""

LOSSES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("removed", pa.int64(), nullable=False),
        pa.field("survivors", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),  # a few
    ]
)
"""One row a source and partition in which it loses a repository."""

ALARMS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # what stands before the first "/" of the repositories' names
        pa.field("repositories", pa.int64(), nullable=False),
        pa.field("survivors", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),  # a few
    ]
)
"""One row a source of which not one repository is left."""
