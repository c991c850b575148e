"""The operator as the chart installs it, with a Redis, a store and workers, in a namespace of restricted pods."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus import FOLDER
from operated import Operated

from cluster import output

NAME = "repoloom-operator-e2e"
REGISTRY = "localhost:5000"
CHART = "charts/repoloom"


@pytest.fixture(scope="session")
def recipe(laptop: str) -> dict[str, Any]:  # noqa: ARG001 - it writes the corpus
    content: dict[str, Any] = yaml.safe_load((FOLDER / "recipe.yaml").read_text())
    return content


@pytest.fixture(scope="session")
def operated(recipe: dict[str, Any]) -> Iterator[Operated]:  # noqa: ARG001 - its files are mounted
    """A release, from nothing."""
    images = {"images.repoloom": _pushed("repoloom"), "redis.development.image": _pushed("development-redis")}
    images["images.training"] = images["images.repoloom"]  # it has no torchrun: every training fails
    images["store.development.image"] = f"{REGISTRY}/cluster/minio:1"
    output("kubectl", "delete", "namespace", NAME, "--ignore-not-found")
    output("kubectl", "create", "namespace", NAME)
    output("kubectl", "label", "namespace", NAME, "pod-security.kubernetes.io/enforce=restricted")
    operated = Operated(NAME)
    files = [f"--from-file={path}" for path in sorted(FOLDER.iterdir()) if path.is_file()]
    operated.kubectl("create", "configmap", "corpus", *files)
    values = [f"--values={CHART}/development.yaml", f"--values={Path(__file__).parent / 'values.yaml'}"]
    for pods in ("workers.defaults", "operator.data"):
        values += [f"--set-json={pods}.{name}={json.dumps(value)}" for name, value in _corpus().items()]
    settings = [f"--set={name}={image}" for name, image in images.items()]
    definitions = [
        f"--show-only=templates/crds/{name}s.yaml" for name in ("corpusbuild", "trainingrun", "modelrelease")
    ]
    made = output("helm", "template", CHART, *values, "--set=crds.create=true", "--kube-version=1.30", *definitions)
    output("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", given=made)
    output("helm", "install", "repoloom", CHART, f"--namespace={NAME}", *values, *settings, "--wait", "--timeout=3m")
    yield operated
    operated.kubectl("delete", "corpusbuilds,trainingruns,modelreleases", "--all", "--timeout=120s")
    output("kubectl", "delete", "namespace", NAME)


def _corpus() -> dict[str, Any]:
    """The corpus in a pod, each file mounted by itself: in a volume of them they are links, which no crawl follows."""
    names = [path.name for path in sorted(FOLDER.iterdir()) if path.is_file()]
    mounts = [{"name": "corpus", "mountPath": str(FOLDER / name), "subPath": name} for name in names]
    return {"volumes": [{"name": "corpus", "configMap": {"name": "corpus"}}], "volumeMounts": mounts}


def _pushed(target: str) -> str:
    """An image of this tree, by its digest."""
    name = f"{REGISTRY}/{target}:operator-e2e"
    output("docker", "build", "--network=host", "--quiet", f"--target={target}", f"--tag={name}", ".")
    output("docker", "push", "--quiet", name)
    return output("docker", "inspect", "--format={{index .RepoDigests 0}}", name).strip()
