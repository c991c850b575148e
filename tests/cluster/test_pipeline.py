"""The Kubeflow pipeline in a pod: its stages done by the cluster's workers, its training by a TrainingRun.

The pod is lost while the training runs; the one that is started then adopts it.
"""

import json
from typing import Any

import yaml
from corpus import FOLDER

from cluster import Namespace, wait_for

LIMIT = 500.0  # seconds, on two cores that do everything else too
ACCOUNT = {"name": "pipeline"}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pipeline"}
RIGHTS = [
    {"apiGroups": ["repoloom.dev"], "resources": ["corpusbuilds", "trainingruns"], "verbs": ["create", "get", "patch"]}
]


def test_the_whole_pipeline_makes_the_laptops_bytes_and_a_model(namespace: Namespace, laptop: str) -> None:
    namespace.apply(*_rights())
    store = namespace.store("pipeline")
    command = ["repoloom", "pipeline", "run-local", f"{FOLDER}/recipe.yaml", "--store", store, "--json"]
    command += ["--settings", "/files/settings.yaml"]
    files = {"settings.yaml": yaml.safe_dump({"training_workers": {"workers": 2}})}
    namespace.start("lost", namespace.image("training"), *command, files=files, account="pipeline")
    wait_for(
        "it trains", LIMIT, lambda: [run["status"]["phase"] for run in _trainings(namespace, store)] == ["Running"]
    )
    namespace.kubectl("delete", "job", "lost", "--cascade=foreground")
    (begun,) = _trainings(namespace, store)
    namespace.start("pipeline", namespace.image("training"), *command, files=files, account="pipeline")
    assert json.loads(namespace.said("pipeline", LIMIT))["digest"] == laptop
    (run,) = _trainings(namespace, store)
    assert run["metadata"]["uid"] == begun["metadata"]["uid"]
    assert run["status"]["phase"] == "Succeeded"
    assert run["status"]["corpus"] == laptop


def _trainings(namespace: Namespace, store: str) -> list[dict[str, Any]]:
    """Those into a store that the operator has looked at."""
    runs = namespace.get("trainingruns")["items"]
    return [run for run in runs if run["spec"]["out"] == store and "phase" in run.get("status", {})]


def _rights() -> list[dict[str, Any]]:
    """An account for the pipeline's pods with the rights of docs/pipelines.md."""
    group = "rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", **ACCOUNT}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": ACCOUNT},
        {"apiVersion": group, "kind": "Role", "metadata": ACCOUNT, "rules": RIGHTS},
        {"apiVersion": group, "kind": "RoleBinding", "metadata": ACCOUNT, "roleRef": ROLE, "subjects": [subject]},
    ]
