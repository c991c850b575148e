"""dedup.survivors: takes the near-duplicates out of the documents."""

import itertools
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.tables import DOCUMENTS, DROPPED, Drops
from repoloom.engine.step import Accounts, Reader, Shares, Sink, Step, share_out
from repoloom.errors import CorruptDataError
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.routing import destinations, received
from repoloom.stages.dedup.tables import REMOVALS


class Survivors(Step[DedupParams]):
    """Drops all documents of a removed repository; each file's record says for whom, and how similar the two are.

    A task reads the removals of those partitions that its documents lie in.
    """

    name = "dedup.survivors"
    version = 2
    reads = ("documents", "extents", "removals")
    writes = {"documents": DOCUMENTS, "dropped": DROPPED}
    accounts = Accounts("documents", kept=("documents",))

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:
        removals = destinations(tables["removals"])
        stops = list(itertools.accumulate(part.rows for part in tables["extents"]))  # in rows of the documents
        if sum(part.rows for part in tables["documents"]) != (stops[-1] if stops else 0):
            raise CorruptDataError("the documents are not those that were compared; run dedup.signatures again")
        start = partition = 0
        for shares in share_out(tables["documents"], "documents", task_bytes, {}):
            stop = start + sum(part.rows for part in shares["documents"])
            while stops[partition] <= start:
                partition += 1
            last = partition
            while stops[last] < stop:
                last += 1
            yield {**shares, "removals": [part for one in range(partition, last + 1) for part in removals.get(one, ())]}
            start = stop

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        removals = pa.concat_tables([REMOVALS.empty_table(), *received(inputs["removals"])])
        removed = {row["repo"]: (row["survivor"], row["similarity"]) for row in removals.to_pylist()}
        drops = Drops()
        for documents in inputs["documents"].batches():
            gone = pa.array([repo in removed for repo in documents["repo"].to_pylist()], pa.bool_())
            out.write("documents", documents.filter(pc.invert(gone)))
            for document in documents.filter(gone).select(["repo", "text", "spans"]).to_pylist():
                survivor, similarity = removed[document["repo"]]
                for span in document["spans"]:
                    drops.add(
                        repo=document["repo"],
                        path=span["path"],
                        language=span["language"],
                        size=span["size"],
                        rule="near_duplicate",
                        value=similarity,
                        threshold=self.params.threshold,
                        detail=f"of {survivor}",
                        content=document["text"][span["start"] : span["end"]],
                    )
            out.write("dropped", drops.take())
