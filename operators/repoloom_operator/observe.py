"""Looking: everything a reconciler is to know, read anew each time."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from repoloom_operator import corpus_build, kept, model_release, training_run
from repoloom_operator.api import Cluster
from repoloom_operator.children import JOB_KINDS, KIND_LABEL, NAME_LABEL, Child
from repoloom_operator.corpus_build import PACK, Kept
from repoloom_operator.deployments import Deployment, Holder, named
from repoloom_operator.resources import (
    CorpusBuildSpec,
    Kind,
    Manifest,
    ModelReleaseSpec,
    Ref,
    Resource,
    S,
    Spec,
    TrainingRunSpec,
)
from repoloom_operator.rivals import Rival, builds, is_at_work, is_to_begin, overlap
from repoloom_operator.settings import Settings, TrainingJob
from repoloom_operator.training_output import Output

T = TypeVar("T", bound=Spec)


def now() -> datetime:
    """The time, in whole seconds as Kubernetes has it."""
    return datetime.now(UTC).replace(microsecond=0)


def observe_corpus_build(
    resource: Resource[CorpusBuildSpec], cluster: Cluster, settings: Settings
) -> corpus_build.Observed:
    """What decides on a CorpusBuild."""
    found = tuple(children(resource, cluster, ("Job", "ConfigMap")))
    rivals = tuple(_other_builds(resource, cluster))
    return corpus_build.Observed(now(), settings, resource, found, kept.corpus(resource.spec.store), rivals)


def _other_builds(resource: Resource[CorpusBuildSpec], cluster: Cluster) -> Iterator[Rival]:
    """The other CorpusBuilds of the same store, the oldest first."""
    for build, older in _others(resource, CorpusBuildSpec, cluster):
        if build.spec.store.rstrip("/") == resource.spec.store.rstrip("/"):
            unfinished = any(job.deleting or not job.finished for job in children(build, cluster, ("Job",)))
            at_work = unfinished or _has_pods(build, cluster)
            yield Rival(f"{build.namespace}/{build.name}", build.spec.store, older, at_work, builds(build))


def observe_training_run(
    resource: Resource[TrainingRunSpec], cluster: Cluster, settings: Settings
) -> training_run.Observed:
    """What decides on a TrainingRun."""
    found = tuple(children(resource, cluster, ("PyTorchJob", "TrainJob", "TrainingRuntime", "ConfigMap")))
    corpus = referred("CorpusBuild", resource, resource.spec.corpus_ref, CorpusBuildSpec, cluster)
    held = kept.corpus(corpus.spec.store) if corpus else Kept()
    told = "contamination" in resource.status and resource.status["corpus"] == held.digests.get(PACK)
    if corpus and not told:
        held = kept.contamination(corpus.spec.store, held)
    seen = training_run.Observed(
        now(),
        settings,
        resource,
        found,
        corpus,
        held,
        kept.output(resource.spec.out),
        tuple(_other_runs(resource, cluster)),
    )
    return replace(seen, unwritable=kept.unwritable(resource.spec.out)) if training_run.begins(seen) else seen


def _other_runs(resource: Resource[TrainingRunSpec], cluster: Cluster) -> Iterator[Rival]:
    """The other TrainingRuns whose output is the same, or lies below or above it, the oldest first."""
    for run, older in _others(resource, TrainingRunSpec, cluster):
        if overlap(run.spec.out, resource.spec.out):
            unfinished = any(is_at_work(run, child) for child in children(run, cluster, TrainingJob))
            at_work = unfinished or _has_pods(run, cluster)
            yield Rival(f"{run.namespace}/{run.name}", run.spec.out, older, at_work, is_to_begin(run))


def _has_pods(resource: Resource[S], cluster: Cluster) -> bool:
    """Whether a pod of it may still write: one of a job that has failed has its grace period."""
    pods = cluster.labelled("Pod", resource.namespace, _labels(resource))
    return any(pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") for pod in pods)


def _others(resource: Resource[T], spec: type[T], cluster: Cluster) -> Iterator[tuple[Resource[T], bool]]:
    """The others of its kind, the oldest first, and whether they are older."""
    kind = resource.kind
    every = [found for namespace in cluster.namespaces for found in cluster.labelled(kind, namespace, {})]
    older = True
    for manifest in sorted(every, key=_age):
        other = Resource.parse(kind, manifest, spec)
        if other.uid == resource.uid:
            older = False
        else:
            yield other, older


def _age(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]


def observe_model_release(
    resource: Resource[ModelReleaseSpec], cluster: Cluster, settings: Settings
) -> model_release.Observed:
    """What decides on a ModelRelease."""
    found = tuple(children(resource, cluster, ("Job", "ConfigMap")))
    training = referred("TrainingRun", resource, resource.spec.training_ref, TrainingRunSpec, cluster)
    corpus = referred("CorpusBuild", resource, training.spec.corpus_ref, CorpusBuildSpec, cluster) if training else None
    name = resource.spec.deployment
    serving, beside = (_deployment(resource, each, cluster) for each in (name, name and f"{name}-canary"))
    return model_release.Observed(
        now(),
        settings,
        resource,
        found,
        training,
        corpus,
        kept.corpus(corpus.spec.store) if corpus else Kept(),
        kept.output(training.spec.out) if training else Output(),
        serving,
        beside if serving and beside and beside.is_canary_of(serving) else None,
    )


def _deployment(release: Resource[ModelReleaseSpec], name: str | None, cluster: Cluster) -> Deployment | None:
    manifest = cluster.get("Deployment", release.namespace, name) if name else None
    if manifest is None:
        return None
    pods = cluster.labelled("Pod", release.namespace, manifest["spec"]["selector"]["matchLabels"])
    return Deployment.parse(manifest, pods, pods_say(pods), _holder(manifest, cluster))


def _holder(deployment: Manifest, cluster: Cluster) -> Holder | None:
    """Which release holds a Deployment; none where it ended without letting go."""
    holder = named(deployment)
    found = cluster.get("ModelRelease", deployment["metadata"]["namespace"], holder.name) if holder else None
    return holder if holder and found and found["metadata"]["uid"] == holder.uid else None


def referred(kind: Kind, by: Resource[S], ref: Ref, spec: type[T], cluster: Cluster) -> Resource[T] | None:
    """What a resource refers to, in its own namespace."""
    manifest = cluster.get(kind, by.namespace, ref.name)
    return Resource.parse(kind, manifest, spec) if manifest else None


def children(resource: Resource[S], cluster: Cluster, kinds: Iterable[str]) -> Iterator[Child]:
    """What is labelled as the resource's; of a former resource of its name, too, which is to end."""
    labels = _labels(resource)
    said: str | None = None
    for kind in kinds:
        for manifest in cluster.labelled(kind, resource.namespace, labels):
            if said is None and kind in JOB_KINDS:
                said = pods_say(cluster.labelled("Pod", resource.namespace, labels))
            yield Child.parse(kind, manifest, said or "")


def _labels(resource: Resource[S]) -> dict[str, str]:
    return {KIND_LABEL: resource.kind, NAME_LABEL: resource.name}


def pods_say(pods: Iterable[Manifest]) -> str:
    """Why the newest pod that has trouble has it: its last words, or what it waits for."""
    newest = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    return next((said for pod in newest for said in _said(pod)), "")


def _said(pod: Manifest) -> Iterator[str]:
    status = pod.get("status", {})
    for container in status.get("containerStatuses", ()):
        state: Mapping[str, Mapping[str, str]] = container.get("state", {})
        before: Mapping[str, Mapping[str, str]] = container.get("lastState", {})
        ended, waits = state.get("terminated") or before.get("terminated"), state.get("waiting")
        if ended and str(ended["exitCode"]) != "0":
            why = _last_words(ended.get("message", "")) or ended.get("reason", "")
            yield f"{why} (exit code {ended['exitCode']})"
        if waits and waits.get("message"):
            yield f"{waits['reason']}: {waits['message']}"
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False" and condition.get("message"):
            yield f"{condition.get('reason', 'Unschedulable')}: {condition['message']}"


def _last_words(log: str) -> str:
    """The error of our own that a log ends with, in JSON or in several lines; else its last line."""
    lines = log.strip().splitlines()
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return str(json.loads("".join(lines[-1:]))["error"]["message"])
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[begins[-1] if begins else -1 :])
