"""Signatures that no text need have."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from repoloom.stages.dedup.tables import SIGNATURES


def signatures(repos: Sequence[str], words: Sequence[int], sketches: Any, buckets: Any) -> pa.Table:
    """Signatures of repositories of one document and no file."""
    count = len(repos)
    columns = {
        "repo": repos,
        "documents": [1] * count,
        "files": [1] * count,
        "bytes": words,
        "words": words,
        "shingles": words,
        "sketch": sketches,
        "buckets": buckets,
        "landmarks": [[]] * count,
    }
    return pa.table(columns, SIGNATURES)
