"""dedup.alarms: the sources of which not one repository is left."""

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.clusters import NAMED_SURVIVORS
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import ALARMS


class Alarms(Step[DedupParams]):
    """One task, which holds a count for each source that loses a repository."""

    name = "dedup.alarms"
    reads = ("losses", "signed")
    writes = {"alarms": ALARMS}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{name: tables[name] for name in self.reads}] if len(tables["losses"]) else []

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        left: Counter[str] = Counter()
        survivors: dict[str, set[str]] = {}
        for losses in inputs["losses"].batches():
            for row in losses.to_pylist():
                left[row["source"]] -= row["removed"]
                named = survivors.setdefault(row["source"], set()) | set(row["survivors"])
                survivors[row["source"]] = set(sorted(named)[:NAMED_SURVIVORS])
        removed = {source: -count for source, count in left.items()}
        for sources in inputs["signed"].batches():
            for row in sources.to_pylist():
                if row["source"] in survivors:
                    left[row["source"]] += row["repositories"]
        rows = [
            {"source": source, "repositories": removed[source], "survivors": sorted(named)}
            for source, named in sorted(survivors.items())
            if not left[source]
        ]
        out.write("alarms", pa.Table.from_pylist(rows, ALARMS))
