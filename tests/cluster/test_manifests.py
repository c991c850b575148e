"""What the charts make, shown to the API server itself: fields that it does not know, pods that are not restricted."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import BARE, KEDA

from cluster import output

NAME = "repoloom-manifests"
VALUES = Path(__file__).with_name("charts")
ELSEWHERE = {"HTTPRoute", "PodMonitor", "ServiceMonitor"}  # kinds that the cluster of the tests does not have


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    levels = (f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn"))
    output("kubectl", "create", "namespace", NAME)
    output("kubectl", "label", "namespace", NAME, *levels)
    yield
    output("kubectl", "delete", "namespace", NAME)


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("repoloom", "charts/repoloom/development.yaml"),
        ("repoloom", VALUES / "production.yaml"),
        ("inference", VALUES / "inference.yaml"),
    ],
)
def test_the_api_server_would_take_all_of_it(chart: str, values: Path | str) -> None:
    options = (f"--namespace={NAME}", f"--values={values}", BARE, KEDA)
    made = output("helm", "template", "loom", f"charts/{chart}", *options)
    manifests = [_template(one) for one in yaml.safe_load_all(made) if one and one["kind"] not in ELSEWHERE]
    assert len(manifests) > 8
    done = apply(*manifests)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_says_what_it_does_not_know_and_which_pods_are_not_restricted() -> None:
    containers = [{"name": "a", "image": "a", "prots": []}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}}
    said = apply(_template(pod)).stderr
    assert '.template.spec.containers[name="a"].prots: field not declared in schema' in said
    del containers[0]["prots"]
    assert "would violate PodSecurity" in apply(_template(pod)).stderr


def _template(manifest: dict[str, Any]) -> dict[str, Any]:
    """A pod as a template: of a pod itself it would be asked for an account that a dry run does not make."""
    if manifest["kind"] != "Pod":
        return manifest
    spec = {"template": {"spec": manifest["spec"]}}
    return {**{key: value for key, value in manifest.items() if key != "spec"}, "kind": "PodTemplate", **spec}


def apply(*manifests: Mapping[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Has the server look at manifests that it is not to keep."""
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    command = ("kubectl", "apply", "--namespace", NAME, *options, "-f", "-")
    return subprocess.run(command, input=yaml.safe_dump_all(manifests), text=True, capture_output=True)
