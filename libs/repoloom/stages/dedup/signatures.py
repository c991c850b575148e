"""dedup.signatures: a sketch of each repository, and the bucket it falls into in each band."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Sink, Step
from repoloom.stages.dedup.banding import best_banding
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import SIGNATURES

if TYPE_CHECKING:
    from repoloom.stages.dedup.minhash import RepositorySketch

LANDMARKS = 16
"""Files of a repository that are remembered by a hash of their words. Those with the smallest hashes are taken, so that
two repositories remember the same ones of the files that both have."""

_ROWS = 64  # signatures written at a time


class Signatures(Step[DedupParams]):
    """Reads each repository once. It costs a row of 8 KiB."""

    name = "dedup.signatures"
    version = 2
    reads = ("documents",)
    writes = {"signatures": SIGNATURES}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        from repoloom.stages.dedup.minhash import RepositorySketch

        banding = best_banding(self.params.threshold, self.params.slots)
        rows: list[dict[str, Any]] = []
        for repository in inputs["documents"].repositories():
            sketch = RepositorySketch(self.params.slots, self.params.sketch)
            row = _take_in(repository, sketch)
            row["buckets"] = sketch.buckets(*banding) if sketch.words else []
            rows.append(row)
            if len(rows) == _ROWS:
                out.write("signatures", pa.RecordBatch.from_pylist(rows, SIGNATURES))
                rows = []
        out.write("signatures", pa.RecordBatch.from_pylist(rows, SIGNATURES))


def _take_in(repository: pa.Table, sketch: "RepositorySketch") -> dict[str, Any]:
    """Sketches a repository; returns its row but for the buckets."""
    from repoloom.corpus.contents import contents

    files = size = 0
    landmarks: list[tuple[int, str]] = []
    for batch in repository.to_batches():
        part = contents(batch)
        digests = sketch.add(part.text, part.starts, part.ends)
        paths = pc.struct_field(part.spans, "path")
        smallest = [i for i in np.argsort(digests, kind="stable") if digests[i]][:LANDMARKS]
        landmarks = sorted(landmarks + [(int(digests[i]), paths[int(i)].as_py()) for i in smallest])[:LANDMARKS]
        files += len(digests)
        size += int((part.ends - part.starts).sum())
    return {
        "repo": repository["repo"][0].as_py(),
        "documents": len(repository),
        "files": files,
        "bytes": size,
        "words": sketch.words,
        "shingles": sketch.distinct,
        "sketch": sketch.smallest(),
        "landmarks": [{"digest": digest, "path": path} for digest, path in landmarks],
    }
