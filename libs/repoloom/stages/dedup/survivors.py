"""dedup.survivors: takes the near-duplicates out of the documents."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.tables import DOCUMENTS, DROPPED, Drops
from repoloom.engine.step import Accounts, Reader, Sink, Step
from repoloom.stages.dedup.params import DedupParams


class Survivors(Step[DedupParams]):
    """Drops all documents of a removed repository; each file's record says for whom, and how similar the two are."""

    name = "dedup.survivors"
    reads = ("documents", "clusters")
    writes = {"documents": DOCUMENTS, "dropped": DROPPED}
    accounts = Accounts("documents", kept=("documents",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        removed = {
            row["repo"]: (row["survivor"], row["similarity"])
            for rows in inputs["clusters"].batches(["repo", "survivor", "similarity"])
            for row in rows.to_pylist()
            if row["repo"] != row["survivor"]
        }
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
