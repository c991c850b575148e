"""The inference chart's Deployments: which model each serves, whether it does, and which release may change that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repoloom_operator.actions import Patch
from repoloom_operator.resources import GROUP, Manifest, ModelReleaseSpec, Resource

HOLDER = f"{GROUP}/release"
"""The annotation that names the release."""

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
    holder: Holder | None  # the release that alone may change the model
    version: str  # changes with every write

    @classmethod
    def parse(cls, manifest: Manifest, said: str, holder: Holder | None) -> "Deployment":
        """The Deployment of a manifest."""
        spec, status = manifest["spec"], manifest.get("status", {})
        containers = spec["template"]["spec"]["containers"]
        serving = next((each for each in containers if MODEL in _environment(each)), containers[0])
        environment = _environment(serving)
        current = status.get("observedGeneration", 0) >= manifest["metadata"]["generation"]
        replicas = spec.get("replicas", 1)
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        progressing = {entry["type"]: entry for entry in status.get("conditions", ())}.get("Progressing", {})
        return cls(
            name=manifest["metadata"]["name"],
            container=serving["name"],
            model=Model(environment[MODEL], environment.get(SHA256, "")) if environment.get(MODEL) else None,
            replicas=replicas,
            ready=current and replicas > 0 and counts == [replicas] * len(counts),
            stuck=current and progressing.get("reason") == "ProgressDeadlineExceeded",
            said=said,
            holder=holder,
            version=manifest["metadata"]["resourceVersion"],
        )

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


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
