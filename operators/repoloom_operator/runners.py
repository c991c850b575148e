"""The pods that do the work: one template, and the Jobs and files made of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from repoloom_operator.children import Wanted, metadata, pod_labels
from repoloom_operator.resources import Resource, S
from repoloom_operator.settings import Pods, Settings

IN_VAIN = (2, 3)
"""Exit codes of a run that was asked for what cannot be done, and of one that did all it could and gave tasks up."""

_RECIPE = "/recipe"
RECIPE_FILE = f"{_RECIPE}/recipe.yaml"

_SHARED_MEMORY = "/dev/shm"  # noqa: S108


def files(resource: Resource[S], recipe: Mapping[str, Any], work: str) -> dict[str, Any]:
    """The ConfigMap of the recipe. JSON is YAML; another work has another one, so no pod sees its file change."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(resource, f"{resource.name}-{work}", work),
        "immutable": True,
        "data": {"recipe.yaml": json.dumps(recipe, indent=1, ensure_ascii=False)},
    }


def pod(
    settings: Settings,
    pods: Pods,
    image: str,
    command: Sequence[str],
    recipe: str,
    *,
    container: str,
    resources: Mapping[str, Any] | None = None,
    env: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The spec of a pod under restricted Pod Security that runs a command on the recipe of a ConfigMap."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,  # a first process misses a SIGTERM that comes before it asks for it
        "terminationGracePeriodSeconds": pods.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": image,
                "imagePullPolicy": settings.images.pull_policy,
                "command": list(command),
                "env": [*settings.env, *pods.env, *env],
                "envFrom": [*settings.env_from, *pods.env_from],
                "resources": dict(resources or pods.resources),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "recipe", "mountPath": _RECIPE, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
                    *pods.volume_mounts,
                ],
            }
        ],
        "volumes": [
            {"name": "recipe", "configMap": {"name": recipe}},
            {"name": "tmp", "emptyDir": {}},
            *pods.volumes,
        ],
    }
    mounted = {mount["mountPath"].rstrip("/") for mount in pods.volume_mounts}
    if pods.shared_memory and _SHARED_MEMORY not in mounted:
        spec["containers"][0]["volumeMounts"].append({"name": "shm", "mountPath": _SHARED_MEMORY})
        spec["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": pods.shared_memory}})
    if settings.images.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.images.pull_secrets]
    if pods.priority_class:
        spec["priorityClassName"] = pods.priority_class
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.tolerations:
        spec["tolerations"] = list(pods.tolerations)
    return spec


def job(
    resource: Resource[S],
    settings: Settings,
    recipe: Mapping[str, Any],
    work: str,
    *,
    name: str,
    pods: Pods,
    image: str,
    command: Sequence[str],
    suspend: bool = False,
) -> Wanted:
    """A Job of one pod, which Kubernetes tries again with longer and longer waits between.

    A pod that its node lost is no failed try, and one that ended in vain is tried no more.
    """
    config = files(resource, recipe, work)
    spec = pod(settings, pods, image, command, config["metadata"]["name"], container="runner")
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(resource, f"{resource.name}-{name}", work),
        "spec": {
            "suspend": suspend,
            "backoffLimit": settings.retries,
            "podReplacementPolicy": "Failed",  # not while one that is told to stop still writes
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": "runner", "operator": "In", "values": list(IN_VAIN)},
                    },
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {"metadata": {"labels": pod_labels(resource, work)}, "spec": spec},
        },
    }
    return Wanted((config,), manifest)
