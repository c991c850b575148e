"""Installs everything as a user does, in a namespace of restricted pods: `make e2e`, with KUBECONFIG set."""

import json
import os
from typing import Any

import pytest
import yaml
from corpus import FOLDER, write_corpus

from cluster import KINDS, ROOT, Namespace, chain, output

NAME = "repoloom-e2e"


@pytest.fixture(scope="session")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the recipe's datasets, as `repoloom run` makes them on this machine."""
    out = str(tmp_path_factory.mktemp("laptop"))
    command = (str(ROOT / ".venv/bin/repoloom"), "run", str(write_corpus()), "--out", out, "--until", "pack", "--json")
    return dict(json.loads(output(*command))["steps"])


@pytest.fixture(scope="session")
def laptop(digests: dict[str, str]) -> str:
    """The digest of the last of them."""
    return digests["pack"]


@pytest.fixture(scope="session")
def recipe(laptop: str) -> dict[str, Any]:  # noqa: ARG001 - it writes the corpus
    return dict(yaml.safe_load((FOLDER / "recipe.yaml").read_text()))


@pytest.fixture(scope="session")
def namespace(laptop: str) -> Namespace:  # noqa: ARG001 - it writes the corpus
    """A release, from nothing: images built, pushed and deployed by skaffold. It stays, to be looked at afterwards.

    REPOLOOM_E2E_NAMESPACE names one that is there already.
    """
    if there := os.environ.get("REPOLOOM_E2E_NAMESPACE"):
        return Namespace(there)
    _remove()
    output("kubectl", "create", "namespace", NAME)
    output("kubectl", "label", "namespace", NAME, "pod-security.kubernetes.io/enforce=restricted")
    namespace = Namespace(NAME)
    files = [f"--from-file={path}" for path in sorted(FOLDER.iterdir()) if path.suffix]
    namespace.kubectl("create", "configmap", "corpus", *files)
    output("skaffold", "run", "--profile=models,e2e", f"--namespace={NAME}", "--status-check=false")
    return namespace


def _remove() -> None:
    """What a run before left. Its operator, if it lives, ends first, or it would put finalizers on again."""
    operator = ("deployment", "repoloom-operator", "--ignore-not-found", "--cascade=foreground")
    output("kubectl", "--namespace", NAME, "delete", *operator)
    if output("kubectl", "get", "crd", "corpusbuilds.repoloom.dev", "--ignore-not-found"):
        for resource in output("kubectl", "--namespace", NAME, "get", KINDS, "--output=name").split():
            free = ("--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
            output("kubectl", "--namespace", NAME, "patch", resource, *free)
    output("kubectl", "delete", "namespace", NAME, "--ignore-not-found")


@pytest.fixture(scope="session")
def corpus(namespace: Namespace, recipe: dict[str, Any], laptop: str) -> str:
    """Where the CorpusBuild `calm` has its data. It is applied with its training and the release of its model."""
    store = namespace.store("calm")
    namespace.apply(*chain("calm", recipe, store))
    assert namespace.reaches("CorpusBuild", "calm", "Ready", 400)["digest"] == laptop
    return store
