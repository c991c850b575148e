"""The inference chart's Deployments: which model each serves, whether it does, and which release may change that.

The release that holds a Deployment has its canary too: no release may name a canary, so nobody else comes to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoloom_operator.actions import Patch
from repoloom_operator.resources import GROUP, Manifest, ModelReleaseSpec, Resource, moment

HOLDER = f"{GROUP}/release"
"""The annotation that names the release."""

TRACK, INSTANCE = f"{GROUP}/track", "app.kubernetes.io/instance"
"""The chart's labels that say which of its Deployments one is, and of which release of the chart."""

MODEL, SHA256 = "REPOLOOM_MODEL", "REPOLOOM_MODEL_SHA256"


@dataclass(frozen=True)
class Model:
    """A model at an address, known by its weights."""

    uri: str
    sha256: str


@dataclass(frozen=True)
class Holder:
    """A ModelRelease, and no later one of its name."""

    name: str
    uid: str


def holder(release: Resource[ModelReleaseSpec]) -> Holder:
    """A release as one that a Deployment may be held by."""
    return Holder(release.name, release.uid)


def named(manifest: Manifest) -> Holder | None:
    """Which release the manifest of a Deployment names, be it there or gone."""
    name, _, uid = manifest["metadata"].get("annotations", {}).get(HOLDER, "").partition("/")
    return Holder(name, uid) if name else None


@dataclass(frozen=True)
class Deployment:
    """A Deployment, as far as the operator has to do with it."""

    name: str
    container: str  # that serves
    model: Model | None  # None: its pods' template names none
    replicas: int
    ready: bool  # there are replicas, all of the newest template serve, and none of an older
    stuck: bool  # Kubernetes has given up on getting there
    said: str  # what keeps pods from serving, as they tell it
    ended: datetime | None  # when last a server of this model ended whose pod was to go on
    holder: Holder | None  # the release that alone may change the model
    canary: bool  # as its label has it
    instance: str | None  # the chart's release
    version: str  # changes with every write

    @classmethod
    def parse(cls, manifest: Manifest, pods: Sequence[Manifest], said: str, holder: Holder | None) -> "Deployment":
        """The Deployment of a manifest, with its pods and what they say."""
        spec, status = manifest["spec"], manifest.get("status", {})
        containers = spec["template"]["spec"]["containers"]
        serving = next((each for each in containers if MODEL in _environment(each)), containers[0])
        model, labels = _model(serving), manifest["metadata"].get("labels", {})
        current = status.get("observedGeneration", 0) >= manifest["metadata"]["generation"]
        replicas = spec.get("replicas", 1)
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        progressing = {entry["type"]: entry for entry in status.get("conditions", ())}.get("Progressing", {})
        return cls(
            name=manifest["metadata"]["name"],
            container=serving["name"],
            model=model,
            replicas=replicas,
            ready=current and replicas > 0 and counts == [replicas] * len(counts),
            stuck=current and progressing.get("reason") == "ProgressDeadlineExceeded",
            said=said,
            ended=max(_ends(pods, serving["name"], model), default=None),
            holder=holder,
            canary=labels.get(TRACK) == "canary",
            instance=labels.get(INSTANCE),
            version=manifest["metadata"]["resourceVersion"],
        )

    def is_canary_of(self, other: "Deployment") -> bool:
        """Whether it serves a part of what another serves: its name alone may be that of anybody's Deployment."""
        return self.canary and self.model is not None and self.instance is not None and self.instance == other.instance

    def serve(self, model: Model) -> Patch:
        """Has it serve a model; Kubernetes replaces its pods one by one."""
        environment = [{"name": MODEL, "value": model.uri}, {"name": SHA256, "value": model.sha256}]
        pod = {"spec": {"containers": [{"name": self.container, "env": environment}]}}
        return self._patch(spec={"template": pod})

    def hold(self, holder: Holder) -> Patch:
        """Leaves it to a release."""
        return self._patch(annotations={HOLDER: f"{holder.name}/{holder.uid}"})

    def let_go(self) -> Patch:
        """Leaves it to whichever release comes next."""
        return self._patch(annotations={HOLDER: None})

    def _patch(self, annotations: Mapping[str, str | None] = {}, **body: Manifest) -> Patch:
        """Of the Deployment as it was seen: one that was written since is looked at anew."""
        metadata = {"resourceVersion": self.version, "annotations": dict(annotations)}
        return Patch("Deployment", self.name, {"metadata": metadata, **body})


def _model(container: Mapping[str, Any]) -> Model | None:
    environment = _environment(container)
    return Model(environment[MODEL], environment.get(SHA256, "")) if environment.get(MODEL) else None


def _ends(pods: Sequence[Manifest], container: str, model: Model | None) -> Iterator[datetime]:
    """When servers of a model ended of themselves, or as they no longer answered.

    Pods that are deleted or evicted are no fault of the model's, nor is a node that starts anew: its containers ended
    for a reason that containerd calls Unknown.
    """
    for pod in pods:
        goes = "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") == "Failed"
        if goes or not any(each["name"] == container and _model(each) == model for each in pod["spec"]["containers"]):
            continue
        for status in pod.get("status", {}).get("containerStatuses", ()):
            for state in (status.get("state", {}), status.get("lastState", {})) if status["name"] == container else ():
                ended = state.get("terminated", {})
                if ended.get("finishedAt") and ended.get("reason") != "Unknown":
                    yield moment(ended["finishedAt"])


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
