"""The tables between the steps of deduplication."""

import pyarrow as pa

_LANDMARK = pa.struct([pa.field("digest", pa.uint64(), nullable=False), pa.field("path", pa.string(), nullable=False)])

SIGNATURES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("files", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # of the files' contents
        pa.field("words", pa.int64(), nullable=False),
        pa.field("shingles", pa.int64(), nullable=False),  # distinct ones; an estimate where the sketch is full
        pa.field("sketch", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),  # ascending
        pa.field("landmarks", pa.list_(pa.field("item", _LANDMARK, nullable=False)), nullable=False),
    ]
)
"""One row a repository: about 8 KiB with a sketch of 1024."""

BANDS = pa.schema(
    [
        pa.field("band", pa.int32(), nullable=False),
        pa.field("bucket", pa.uint64(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
    ]
)
"""One row a repository and band; each part holds one band, and the parts of a task lie in the order of their bands."""

CANDIDATES = pa.schema([pa.field("left", pa.string(), nullable=False), pa.field("right", pa.string(), nullable=False)])
"""Pairs of repositories that share a bucket, the one that would survive on the left."""

_SHARED = pa.struct(
    [pa.field("path", pa.string(), nullable=False), pa.field("survivor_path", pa.string(), nullable=False)]
)

CLUSTERS = pa.schema(
    [
        pa.field("cluster", pa.int64(), nullable=False),  # number of the cluster, largest survivor first
        pa.field("repo", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),  # itself, for the one that survives
        pa.field("similarity", pa.float64(), nullable=False),  # to the survivor, directly
        pa.field("error", pa.float64(), nullable=False),  # standard error of the similarity, 0 where it is exact
        pa.field("linked", pa.string(), nullable=False),  # the candidate that it is most similar to
        pa.field("linked_similarity", pa.float64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("shared", pa.list_(pa.field("item", _SHARED, nullable=False)), nullable=False),  # equal word for word
    ]
)
"""One row a repository of a cluster: the survivor, then those that are removed for it."""

ALARMS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # what stands before the first "/" of the repositories' names
        pa.field("repositories", pa.int64(), nullable=False),
        pa.field("survivors", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),  # a few
    ]
)
"""One row a source of which not one repository is left."""
