"""Who has an output that several TrainingRuns, or a store that several CorpusBuilds, would write to: one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from repoloom_operator.children import Child, State
from repoloom_operator.conditions import DEFECT, RECONCILED, reason
from repoloom_operator.resources import CorpusBuildSpec, Resource, TrainingRunSpec


@dataclass(frozen=True)
class Rival:
    """Another CorpusBuild of the same store; or another TrainingRun of the same output, or of one below or above it."""

    name: str  # with its namespace
    out: str
    older: bool
    at_work: bool  # pods of it may write, or what they wrote is not recorded yet
    begins: bool  # as soon as it can


def overlap(one: str, other: str) -> bool:
    """Whether an output is another, or lies below or above it."""
    above, below = sorted((f"{one.rstrip('/')}/", f"{other.rstrip('/')}/"), key=len)
    return below.startswith(above)


def writer(rivals: Sequence[Rival], children: Sequence[Child]) -> Rival | None:
    """Who has the output: of runs that wait for it the oldest, and whoever is at work goes on.

    A job that has succeeded is in nobody's way, and what it made is to be recorded.
    """
    if any(child.state is State.SUCCEEDED and not child.deleting for child in children):
        return None
    begun = any(child.is_job for child in children)
    for rival in rivals:
        if rival.at_work and (rival.older or not begun):
            return rival
    return next((rival for rival in rivals if rival.older and rival.begins and not begun), None)


def builder(rivals: Sequence[Rival], children: Sequence[Child]) -> Rival | None:
    """Who has the store: the oldest for as long as it is there, since what lies there is its; and who still writes."""
    begun = any(child.is_job and not child.finished for child in children)
    return next((rival for rival in rivals if (rival.older and rival.begins) or (rival.at_work and not begun)), None)


def builds(build: Resource[CorpusBuildSpec]) -> bool:
    """Whether a CorpusBuild writes to its store, as far as its status tells; one with a digest reads there."""
    refused = build.status.get("phase") == "Refused" and build.status.get("observedGeneration") == build.generation
    return not build.spec.digest and not refused


def is_at_work(run: Resource[TrainingRunSpec], job: Child) -> bool:
    """Whether a run's output is that of this job still: its pods may write, or its model is not in the status yet."""
    recorded = "weights" in run.status and run.status.get("run") == job.work
    return job.deleting or not job.finished or (job.state is State.SUCCEEDED and not recorded)


def is_to_begin(run: Resource[TrainingRunSpec]) -> bool:
    """Whether a run that has no job gets one before long, as far as its status tells."""
    if run.deleting or reason(run.status, RECONCILED) == DEFECT:
        return False
    if run.status.get("observedGeneration") != run.generation:
        return True
    held = any(
        entry["reason"] in _HELD or (entry["type"] in ("CorpusReady", "Preflight") and entry["status"] == "False")
        for entry in run.status.get("conditions", ())
    )
    return not held and run.status["phase"] in ("Pending", "Running", "Restarting")


_HELD = ("StoreUnread", "CreateRefused", "NameTaken")
"""Why a run gets no job for now, besides what its corpus and its preflight say."""
