"""What helm makes of a chart's values, without a cluster."""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from cluster import ROOT

CHARTS = ROOT / "charts"
DEVELOPMENT = f"--values={CHARTS}/repoloom/development.yaml"
BARE = "--kube-version=1.34"
KEDA = "--api-versions=keda.sh/v1alpha1"

Object = dict[str, Any]
Objects = list[Object]

_RELEASES = {"repoloom": "loom", "inference": "code"}


def render(chart: str, *options: str, cluster: tuple[str, ...] = (BARE, KEDA), **values: Any) -> Objects:
    """The objects of a release in the namespace `here`. Raises AssertionError with helm's words."""
    said, objects = _template(chart, (*cluster, *options), json.dumps(values))
    assert objects, said
    return objects


def refused(chart: str, *options: str, cluster: tuple[str, ...] = (BARE, KEDA), **values: Any) -> str:
    """Why there is no such release."""
    said, objects = _template(chart, (*cluster, *options), json.dumps(values))
    assert not objects
    return said


@cache
def _template(chart: str, options: tuple[str, ...], values: str) -> tuple[str, Objects]:
    command = ("helm", "template", _RELEASES[chart], f"{CHARTS}/{chart}", "--namespace=here", *options, "--values=-")
    done = subprocess.run(command, input=values, text=True, capture_output=True)
    if done.returncode:
        return done.stderr, []
    return "", [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]  # the one in Python is far slower


def named(objects: Objects, kind: str, name: str) -> Object:
    (found,) = (one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def templates(objects: Objects) -> Iterator[Object]:
    """All pods, by themselves or as templates: metadata and spec."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one
        elif one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one["spec"]["template"]


def restricted(pod: Object) -> bool:
    """Whether a pod's spec passes restricted Pod Security with a read-only root."""
    context = pod["securityContext"]
    own = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    containers = (*pod.get("initContainers", ()), *pod["containers"])
    return (
        context["runAsNonRoot"] is True
        and context["seccompProfile"] == {"type": "RuntimeDefault"}
        and all(container["securityContext"] == own for container in containers)
    )
