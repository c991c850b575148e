"""dedup.signatures: a sketch of each repository, and the bucket it falls into in each band."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Sink, Step
from repoloom.stages.dedup.banding import best_banding
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import BANDS, SIGNATURES

if TYPE_CHECKING:
    from repoloom.stages.dedup.minhash import RepositorySketch

LANDMARKS = 16
"""Files of a repository that are remembered by a hash of their words. Those with the smallest hashes are taken, so that
two repositories remember the same ones of the files that both have."""


class Signatures(Step[DedupParams]):
    """Reads each repository once. It costs a row of 8 KiB, and a few dozen bytes in each band."""

    name = "dedup.signatures"
    reads = ("documents",)
    writes = {"signatures": SIGNATURES, "bands": BANDS}

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        from repoloom.stages.dedup.minhash import RepositorySketch

        banding = best_banding(self.params.threshold, self.params.slots)
        banded: list[tuple[str, int, npt.NDArray[np.uint64]]] = []
        for repository in inputs["documents"].repositories():
            sketch = RepositorySketch(self.params.slots, self.params.sketch)
            row = _take_in(repository, sketch)
            out.write("signatures", pa.RecordBatch.from_pylist([row], SIGNATURES))
            if sketch.words:
                banded.append((row["repo"], sketch.words, sketch.buckets(*banding)))
        for band in range(banding.bands if banded else 0):
            rows = [
                {"band": band, "bucket": int(buckets[band]), "repo": repo, "words": words}
                for repo, words, buckets in banded
            ]
            out.write("bands", pa.RecordBatch.from_pylist(rows, BANDS))
            out.roll("bands")


def _take_in(repository: pa.Table, sketch: "RepositorySketch") -> dict[str, Any]:
    """Sketches a repository; returns its row."""
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
        "files": files,
        "bytes": size,
        "words": sketch.words,
        "shingles": sketch.distinct,
        "sketch": sketch.smallest(),
        "landmarks": [{"digest": digest, "path": path} for digest, path in landmarks],
    }
