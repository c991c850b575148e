"""The one job of a resource: found, made, replaced, stopped, so that there are never two that live.

Its name is the resource's own with a suffix, so Kubernetes itself refuses a second one; it is deleted in the
foreground, so its name is free only when its pods have ended. What it was made for stands on it as a label.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic

from repoloom.corpus.manifest import canonical_json
from repoloom_operator.actions import Action, Create, Delete, DropFinalizer, Requeue
from repoloom_operator.resources import GROUP, VERSION, Manifest, Resource, S, moment

KIND_LABEL, NAME_LABEL, WORK_LABEL = f"{GROUP}/kind", f"{GROUP}/name", f"{GROUP}/work"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

JOB_KINDS = ("Job", "PyTorchJob", "TrainJob")


class State(StrEnum):
    """Where a job stands."""

    WAITING = "Waiting"  # not all of its pods have begun
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class Child:
    """An object that the operator made for a resource."""

    kind: str
    name: str
    uid: str
    work: str  # what it was made for
    deleting: bool = False
    state: State = State.WAITING  # of a job
    suspended: bool = False  # as it is asked to be
    queued: bool = False  # Kueue alone says when it runs
    began: datetime | None = None  # when its pods ran
    ended: datetime | None = None
    said: str = ""  # why it waits or failed, as its pods tell it
    verdict: str = ""  # why it failed, as its controller tells it

    @property
    def is_job(self) -> bool:
        return self.kind in JOB_KINDS

    @property
    def finished(self) -> bool:
        """Whether it will never run again."""
        return self.state in (State.SUCCEEDED, State.FAILED)

    @classmethod
    def parse(cls, kind: str, manifest: Manifest, said: str) -> "Child":
        """The child of a manifest."""
        metadata, status = manifest["metadata"], manifest.get("status", {})
        labels = metadata.get("labels", {})
        conditions = {entry["type"]: entry for entry in status.get("conditions", ()) if entry["status"] == "True"}
        spec = manifest.get("spec", {})
        suspended = bool(spec.get("runPolicy", spec).get("suspend"))
        began = status.get("startTime") or conditions.get("Running", {}).get("lastTransitionTime")
        ended = next((conditions[at]["lastTransitionTime"] for at in (*_SUCCEEDED, "Failed") if at in conditions), None)
        return cls(
            kind=kind,
            name=metadata["name"],
            uid=metadata["uid"],
            work=labels.get(WORK_LABEL, ""),
            deleting="deletionTimestamp" in metadata,
            state=_state(kind, manifest, conditions, suspended),
            suspended=suspended,
            queued=QUEUE_LABEL in labels,
            began=moment(began) if began else None,
            ended=moment(ended) if ended else None,
            said=said,
            verdict=conditions.get("Failed", {}).get("message", ""),
        )


_SUCCEEDED = ("Succeeded", "Complete")


def _state(kind: str, manifest: Manifest, conditions: Mapping[str, Any], suspended: bool) -> State:
    if any(name in conditions for name in _SUCCEEDED):
        return State.SUCCEEDED
    if "Failed" in conditions:
        return State.FAILED
    if suspended:
        return State.SUSPENDED
    return State.RUNNING if _runs(kind, manifest) else State.WAITING


def _runs(kind: str, manifest: Manifest) -> bool:
    """Whether all pods run; of ranks that wait for the others none has begun to train."""
    status = manifest.get("status", {})
    match kind:
        case "Job":
            return bool(status.get("ready"))
        case "TrainJob":  # none of its conditions says so; of a Job that is ready all pods are
            return any(job["ready"] for job in status.get("jobsStatus", ()))
        case "PyTorchJob":  # its condition Running holds from the first pod on
            wanted, begun = manifest["spec"]["pytorchReplicaSpecs"], status.get("replicaStatuses", {})
            return all(spec["replicas"] <= _begun(begun.get(name, {})) for name, spec in wanted.items())
        case _:
            return False


def _begun(replicas: Mapping[str, int]) -> int:
    return replicas.get("active", 0) + replicas.get("succeeded", 0)


def work_of(*parts: Any) -> str:  # noqa: ANN401
    """A short name for what a child is made for: equal for equal JSON values, and a valid label."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:16]


def metadata(resource: Resource[S], name: str, work: str) -> dict[str, Any]:
    """The metadata of a child: whose it is, and what for."""
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": False,  # it would need a right on the resources' finalizers
    }
    return {
        "name": name,
        "namespace": resource.namespace,
        "labels": labels(resource, work),
        "ownerReferences": [owner],
    }


def labels(resource: Resource[S], work: str) -> dict[str, str]:
    """The labels of a child."""
    return {
        KIND_LABEL: resource.kind,
        NAME_LABEL: resource.name,
        WORK_LABEL: work,
        "app.kubernetes.io/part-of": "repoloom",
        "app.kubernetes.io/managed-by": "repoloom-operator",
    }


def pod_labels(resource: Resource[S], work: str) -> dict[str, str]:
    """The labels of its pods: the chart's network policies let them to the store, and those of a build to Redis too."""
    reached = ("data", "queue") if resource.kind == "CorpusBuild" else ("data",)
    return {**labels(resource, work), **{f"{GROUP}/{name}": "true" for name in reached}}


@dataclass(frozen=True)
class Wanted:
    """The job that a resource is to have, and what it refers to, such as the files that its pods read."""

    parts: Sequence[Manifest]
    job: Manifest


@dataclass(frozen=True)
class Children(Generic[S]):
    """What a resource has."""

    resource: Resource[S]
    found: Sequence[Child]

    def current(self, wanted: Wanted) -> Child | None:
        """The job that is wanted, if it is there and is to stay."""
        return next((child for child in self.found if child.is_job and _is(child, wanted.job)), None)

    def ensure(self, wanted: Wanted) -> Iterator[Action]:
        """Steps towards the wanted job and no other: others are deleted, and it is made when these are gone."""
        every = (*wanted.parts, wanted.job)
        kept = [child for child in self.found if not child.deleting and any(_is(child, one) for one in every)]
        yield from delete(child for child in self.found if child not in kept)
        for part in wanted.parts:
            if not any(_is(child, part) for child in kept):
                yield Create(part)
        if not any(child.is_job for child in self.found):
            yield Create(wanted.job)

    def stop(self) -> Iterator[Action]:
        """Steps towards no job. What it refers to goes too: the next one's is of the settings of then."""
        yield from delete(self.found)

    def end(self) -> Iterator[Action]:
        """Stops everything; the resource ends when nothing of it runs any more."""
        yield from self.stop()
        if not any(child.is_job for child in self.found):
            yield DropFinalizer()


def delete(children: Iterable[Child]) -> Iterator[Action]:
    """Deletes what is not being deleted already, and looks again: that something is gone may go unheard."""
    for child in children:
        if not child.deleting:
            yield Delete(child.kind, child.name, child.uid)
        yield Requeue()


def _is(child: Child, manifest: Manifest) -> bool:
    labels = manifest["metadata"]["labels"]
    return (child.kind, child.name, child.work) == (
        manifest["kind"],
        manifest["metadata"]["name"],
        labels[WORK_LABEL],
    )
