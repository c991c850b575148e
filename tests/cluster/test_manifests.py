"""What the charts make, shown to the API server, which knows all fields and restricts pods, and to kubeconform."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import DEVELOPMENT, Objects, render
from schemas import LOCATION, write_schemas

from cluster import Namespace, custom, output

NAME = "repoloom-manifests"
VALUES = Path(__file__).with_name("charts")
ELSEWHERE = {"BackendTLSPolicy", "HTTPRoute", "PodMonitor", "ServiceMonitor"}  # kinds that the tests' cluster lacks


@pytest.fixture(scope="module", autouse=True)
def restricted() -> Iterator[None]:
    levels = (f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn"))
    output("kubectl", "create", "namespace", NAME)
    output("kubectl", "label", "namespace", NAME, *levels)
    yield
    output("kubectl", "delete", "namespace", NAME)


CHARTS = pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("repoloom", DEVELOPMENT),
        ("repoloom", f"--values={VALUES}/production.yaml"),
        ("inference", f"--values={VALUES}/inference.yaml"),
    ],
)


def rendered(chart: str, values: str) -> Objects:
    """The manifests of a chart, of kinds that the cluster has."""
    manifests = [one for one in render(chart, f"--namespace={NAME}", values) if one["kind"] not in ELSEWHERE]
    assert len(manifests) > 8
    return manifests


@CHARTS
def test_the_api_server_would_take_all_of_it(chart: str, values: str) -> None:
    done = apply(*map(_template, rendered(chart, values)))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def schemas(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - it has our kinds
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder)
    return folder


@CHARTS
def test_kubeconform_finds_nothing(schemas: Path, chart: str, values: str) -> None:
    manifests = rendered(chart, values)
    assert conform(schemas, *manifests)["summary"] == {
        "valid": len(manifests),
        "invalid": 0,
        "errors": 0,
        "skipped": 0,
    }


def test_kubeconform_finds_fields_that_are_not_known(schemas: Path) -> None:
    container = {"name": "a", "image": "a", "prots": []}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}
    build = custom("CorpusBuild", "a", recipe={}, stroe="s3://a")
    said = conform(schemas, pod, build)
    assert said["summary"]["invalid"] == 2
    assert all(field in str(said["resources"]) for field in ("prots", "stroe"))


def conform(schemas: Path, *manifests: Mapping[str, Any]) -> dict[str, Any]:
    command = ("kubeconform", "-strict", "-summary", "-output=json", f"-schema-location={schemas}/{LOCATION}")
    done = subprocess.run(command, input=yaml.safe_dump_all(manifests), text=True, capture_output=True)
    return dict(json.loads(done.stdout))


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
