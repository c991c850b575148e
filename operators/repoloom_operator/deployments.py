"""The inference chart's Deployments: which model each serves, and whether it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repoloom_operator.actions import Patch
from repoloom_operator.resources import Manifest

MODEL, SHA256 = "REPOLOOM_MODEL", "REPOLOOM_MODEL_SHA256"


@dataclass(frozen=True)
class Model:
    """A model at an address, known by its weights."""

    uri: str
    sha256: str


@dataclass(frozen=True)
class Deployment:
    """A Deployment, as far as the operator has to do with it."""

    name: str
    container: str  # that serves
    model: Model | None  # None: its pods' template names none
    replicas: int
    ready: bool  # all replicas of the newest template serve, and none of an older
    stuck: bool  # Kubernetes has given up on getting there
    said: str  # what keeps pods from serving, as they tell it

    @classmethod
    def parse(cls, manifest: Manifest, said: str) -> "Deployment":
        """The Deployment of a manifest."""
        spec, status = manifest["spec"], manifest.get("status", {})
        containers = spec["template"]["spec"]["containers"]
        serving = next((each for each in containers if MODEL in _environment(each)), containers[0])
        environment = _environment(serving)
        current = status.get("observedGeneration", 0) >= manifest["metadata"]["generation"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        progressing = {entry["type"]: entry for entry in status.get("conditions", ())}.get("Progressing", {})
        return cls(
            name=manifest["metadata"]["name"],
            container=serving["name"],
            model=Model(environment[MODEL], environment.get(SHA256, "")) if environment.get(MODEL) else None,
            replicas=spec.get("replicas", 1),
            ready=current and counts == [spec.get("replicas", 1)] * len(counts),
            stuck=current and progressing.get("reason") == "ProgressDeadlineExceeded",
            said=said,
        )

    def serve(self, model: Model) -> Patch:
        """Has it serve a model; Kubernetes replaces its pods one by one."""
        environment = [{"name": MODEL, "value": model.uri}, {"name": SHA256, "value": model.sha256}]
        pod = {"spec": {"containers": [{"name": self.container, "env": environment}]}}
        return Patch("Deployment", self.name, {"spec": {"template": pod}})


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
