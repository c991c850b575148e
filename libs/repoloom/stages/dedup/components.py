"""dedup.components: verifies the candidates, and says who is removed for whom, on what evidence."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.engine.step import Reader, Shares, Sink, Step
from repoloom.errors import CorruptDataError
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.tables import ALARMS, CLUSTERS

if TYPE_CHECKING:
    from repoloom.stages.dedup.clustering import Verdicts

SHARED_FILES = 3
"""Files that a removed repository has in common with its survivor, named as evidence."""

_ALARM_SURVIVORS = 3  # survivors that an alarm names
_ROWS = 4096  # rows written at a time


class Components(Step[DedupParams]):
    """One task over all candidates.

    A repository that is in one costs 2 KiB of memory, and the size of its sketch in a scratch file; any other costs
    nothing. A pair costs 16 bytes.
    """

    name = "dedup.components"
    reads = ("candidates", "signatures")
    writes = {"clusters": CLUSTERS, "alarms": ALARMS}

    def plan(self, tables: Shares, task_bytes: int) -> Iterable[Shares]:  # noqa: ARG002
        return [{name: tables[name] for name in self.reads}]

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        from repoloom.stages.dedup.clustering import resolve

        candidates, signatures = inputs["candidates"], inputs["signatures"]
        wanted = {name for pairs in candidates.batches() for column in pairs.columns for name in column.to_pylist()}
        if not wanted:
            return
        with tempfile.TemporaryFile(prefix="repoloom-dedup-") as scratch:
            sketches = _scratch(scratch, len(wanted), self.params.sketch)
            sources: Counter[str] = Counter()
            members = _read_members(signatures, wanted, sketches, sources)
            preference = [("words", "descending"), ("repo", "ascending")]
            order = pc.sort_indices(members, preference).to_numpy().astype(np.int64)
            lengths = members["hashes"].to_numpy()
            members = members.take(order)
            pairs = _read_pairs(candidates, members["repo"].to_pylist())
            verdicts = resolve(sketches, lengths, order, pairs, self.params.threshold)
        for rows in _clusters(members, verdicts, self.params.sketch):
            out.write("clusters", rows)
        out.write("alarms", _alarms(members["repo"].to_pylist(), verdicts, sources))


def source_of(repo: str) -> str:
    """What stands before the first "/" of a repository's name, e.g. "pypi"; "" for a name without one."""
    return repo.partition("/")[0] if "/" in repo else ""


def _scratch(file: BinaryIO, rows: int, size: int) -> npt.NDArray[np.uint64]:
    return np.memmap(file, np.uint64, "w+", shape=(rows, size)).view(np.ndarray)


def _read_members(
    signatures: Reader, wanted: Set[str], sketches: npt.NDArray[np.uint64], sources: Counter[str]
) -> pa.Table:
    """The signatures of the wanted repositories; puts their sketches into `sketches`, and counts all by source."""
    members: list[pa.Table] = []
    row = 0
    for batch in signatures.batches():
        repos = batch["repo"].to_pylist()
        sources.update(map(source_of, repos))
        found = pa.Table.from_batches([batch]).filter(pa.array([repo in wanted for repo in repos], pa.bool_()))
        for sketch in found["sketch"]:
            sketches[row, : len(sketch)] = sketch.values.to_numpy()
            row += 1
        lengths = pc.list_value_length(found["sketch"]).cast(pa.int64())
        members.append(found.append_column("hashes", lengths).drop(["sketch"]))
    if row != len(wanted):
        raise CorruptDataError("the candidates and the signatures are not of one run; run dedup.bands again")
    return pa.concat_tables(members)


def _read_pairs(candidates: Reader, repos: list[str]) -> npt.NDArray[np.int64]:
    """The distinct pairs, (pairs, 2), as places in `repos`."""
    numbers = {repo: number for number, repo in enumerate(repos)}
    pairs = [
        np.array([[numbers[name] for name in column.to_pylist()] for column in batch.columns]).T
        for batch in candidates.batches()
    ]
    return np.unique(np.concatenate(pairs), axis=0)


def _clusters(members: pa.Table, verdicts: "Verdicts", size: int) -> Iterable[pa.Table]:
    """The rows of CLUSTERS: a cluster is a survivor and those that are removed for it."""
    place = np.arange(len(members))
    removed = verdicts.survivor != place
    clustered = removed | np.isin(place, verdicts.survivor[removed])
    exact = members["hashes"].to_numpy() < size
    variance = verdicts.similarity * (1 - verdicts.similarity) / np.maximum(verdicts.compared, 1)
    error = np.where(exact & exact[verdicts.survivor], 0.0, np.sqrt(variance))
    rows = place[clustered][np.argsort(verdicts.survivor[clustered], kind="stable")]
    numbers = np.unique(verdicts.survivor[rows], return_inverse=True)[1]
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        survivor = verdicts.survivor[some]
        columns = {
            "cluster": numbers[start : start + _ROWS],
            "repo": members["repo"].take(some),
            "survivor": members["repo"].take(survivor),
            "similarity": verdicts.similarity[some],
            "error": error[some],
            "linked": members["repo"].take(verdicts.linked[some]),
            "linked_similarity": verdicts.linked_similarity[some],
            "bytes": members["bytes"].take(some),
            "words": members["words"].take(some),
            "shared": [
                _shared(members["landmarks"][int(mine)], members["landmarks"][int(its)]) if mine != its else []
                for mine, its in zip(some, survivor, strict=True)
            ],
        }
        yield pa.table(columns, CLUSTERS)


def _shared(mine: pa.ListScalar, its: pa.ListScalar) -> list[dict[str, str]]:
    """Files that both have, word for word."""
    paths = {file["digest"]: file["path"] for file in its.as_py()}
    both = [file for file in mine.as_py() if file["digest"] in paths][:SHARED_FILES]
    return [{"path": file["path"], "survivor_path": paths[file["digest"]]} for file in both]


def _alarms(repos: list[str], verdicts: "Verdicts", sources: Mapping[str, int]) -> pa.Table:
    removed: dict[str, list[int]] = {}
    for place in np.flatnonzero(verdicts.survivor != np.arange(len(repos))).tolist():
        removed.setdefault(source_of(repos[place]), []).append(place)
    rows = [
        {
            "source": source,
            "repositories": len(places),
            "survivors": sorted({repos[verdicts.survivor[place]] for place in places})[:_ALARM_SURVIVORS],
        }
        for source, places in sorted(removed.items())
        if len(places) == sources[source]
    ]
    return pa.Table.from_pylist(rows, ALARMS)
