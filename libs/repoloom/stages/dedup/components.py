"""dedup.components: verifies the candidates, and says who is removed for whom on what evidence."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import ALARMS, CLUSTERS

if TYPE_CHECKING:
    from repoloom.stages.dedup.clustering import Verdicts

SHARED_FILES = 3  # files named as evidence for a removal
_ALARM_SURVIVORS = 3  # survivors named in an alarm
_ROWS = 4096  # rows of a cluster written at a time


class Components(Step[DedupParams]):
    """One task over all candidates.

    A repository that is in a candidate pair costs about 300 bytes of memory and, in a scratch file, the size of its sketch;
    any other costs nothing. A distinct pair costs 16 bytes.
    """

    name = "dedup.components"
    reads = ("candidates", "signatures")
    writes = {"clusters": CLUSTERS, "alarms": ALARMS}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{name: tables[name] for name in self.reads}]

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        from repoloom.stages.dedup.clustering import resolve

        numbers, pairs = _read_candidates(inputs["candidates"])
        with tempfile.TemporaryFile(prefix="repoloom-dedup-") as scratch:
            sketches: npt.NDArray[np.uint64] = np.memmap(scratch, np.uint64, "w+", shape=(max(1, len(numbers)), self.params.sketch))
            members, lengths = _read_members(inputs["signatures"], numbers, sketches)
