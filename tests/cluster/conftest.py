"""Installs everything as a user does, in a namespace of restricted pods: `make e2e`, with KUBECONFIG set."""

import json
import os

import pytest
from corpus import FOLDER, write_corpus

from cluster import ROOT, Namespace, output

NAME = "repoloom-e2e"


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the recipe's data path as `repoloom run` makes it on this machine."""
    command = [
        str(ROOT / ".venv/bin/repoloom"),
        "run",
        str(write_corpus()),
        "--out",
        str(tmp_path_factory.mktemp("laptop")),
    ]
    said = output(*command, "--until", "pack", "--json")
    return str(json.loads(said)["digest"])


@pytest.fixture(scope="session")
def namespace(laptop: str) -> Namespace:  # noqa: ARG001 - it writes the corpus
    """A release, from nothing: images built, pushed and deployed by skaffold. It stays, to be looked at afterwards.

    REPOLOOM_E2E_NAMESPACE names one that is there already.
    """
    if there := os.environ.get("REPOLOOM_E2E_NAMESPACE"):
        return Namespace(there)
    output("kubectl", "delete", "namespace", NAME, "--ignore-not-found")
    output("kubectl", "create", "namespace", NAME)
    output("kubectl", "label", "namespace", NAME, "pod-security.kubernetes.io/enforce=restricted")
    namespace = Namespace(NAME)
    files = [f"--from-file={path}" for path in sorted(FOLDER.iterdir()) if path.suffix]
    namespace.kubectl("create", "configmap", "corpus", *files)
    output("skaffold", "run", "--profile=e2e", f"--namespace={NAME}", "--status-check=false")
    return namespace
