"""What the chart makes of values, without a cluster: `make charts`."""

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[3] / "charts/repoloom"
DEVELOPMENT = f"--values={CHART}/development.yaml"
GIVEN = [
    f"--set={name}=given"
    for name in ("store.secretName", "redis.secretName", "callers.secretName", "tls.secretName", "redis.host")
]
SERVICES = (
    "crawler",
    "decontaminator",
    "deduper",
    "dependency-sorter",
    "filter",
    "quality-scorer",
    "tokenizer",
)


def render(*arguments: str) -> list[dict[str, Any]]:
    done = _helm(*arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def refused(*arguments: str) -> str:
    done = _helm(*arguments)
    assert done.returncode
    return done.stderr


def _helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["helm", "template", "loom", str(CHART), "--namespace=here", "--kube-version=1.34", *arguments]
    return subprocess.run(command, text=True, capture_output=True)


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == f"loom-repoloom-{name}")
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in objects:
        if one["kind"] == "Pod":
            yield one["spec"]
        elif one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield one["spec"]["template"]["spec"]


@pytest.mark.parametrize("values", [[DEVELOPMENT], [DEVELOPMENT, "--set=development.sync=true"], GIVEN])
def test_every_pod_is_of_the_restricted_kind_and_only_the_operator_has_a_token(values: list[str]) -> None:
    specs = list(pods(render(*values)))
    assert len(specs) >= 9
    for spec in specs:
        assert spec["automountServiceAccountToken"] is spec["serviceAccountName"].endswith("-operator")
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_each_service_has_all_that_it_needs() -> None:
    objects = render(*GIVEN)
    for service in SERVICES:
        container = named(objects, "Deployment", service)["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["repoloom-service", service.replace("-", "_")]
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": 7000, "metrics": 9090}
        assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
        assert named(objects, "Service", service)["spec"]["clusterIP"] == "None"
        assert named(objects, "PodDisruptionBudget", service)["spec"]["maxUnavailable"] == 1
        assert named(objects, "HorizontalPodAutoscaler", service)["spec"]["minReplicas"] == 2


def test_one_service_may_differ_from_the_defaults() -> None:
    objects = render(
        DEVELOPMENT, "--set=services.filter.replicas=3", "--set=services.filter.resources.limits.memory=9Gi"
    )
    spec = named(objects, "Deployment", "filter")["spec"]
    assert spec["replicas"] == 3
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "9Gi"
    assert named(objects, "Deployment", "deduper")["spec"]["replicas"] == 1


def test_workers_are_scaled_by_what_waits_and_what_is_being_done_in_the_queue_of_their_build() -> None:
    objects = render(DEVELOPMENT)
    build = named(objects, "ConfigMap", "environment")["data"]["REPOLOOM_BUILD"]
    spec = named(objects, "ScaledObject", "worker-cpu")["spec"]
    assert {one["name"]: one["metadata"]["listName"] for one in spec["triggers"]} == {
        "waiting": f"repoloom.cpu.{build}",
        "running": f"repoloom.cpu.{build}.running",
    }


@pytest.mark.parametrize(
    ("waiting", "running", "concurrency", "workers"),
    [
        (0, 0, 1, 0),
        (1, 0, 1, 1),
        (0, 1, 1, 1),
        (40, 0, 1, 20),
        (30, 10, 1, 20),
        (10, 20, 1, 20),
        (0, 20, 1, 20),
        (0, 3, 1, 3),
        (0, 20, 4, 10),
        (0, 5, 2, 3),
    ],
)
def test_there_are_workers_for_what_waits_and_none_that_is_at_work_is_taken_away(
    waiting: int, running: int, concurrency: int, workers: int
) -> None:
    objects = render(DEVELOPMENT, f"--set=workers.cpu.concurrency={concurrency}")
    modifiers = named(objects, "ScaledObject", "worker-cpu")["spec"]["advanced"]["scalingModifiers"]
    assert modifiers["metricType"] == "AverageValue"
    wanted = eval(modifiers["formula"], {"max": max, "waiting": waiting, "running": running})
    assert (wanted > float(modifiers["activationTarget"])) == bool(workers)
    assert math.ceil(wanted / float(modifiers["target"])) == workers


def test_another_image_is_another_build() -> None:
    builds = {
        named(render(DEVELOPMENT, *more), "ConfigMap", "environment")["data"]["REPOLOOM_BUILD"]
        for more in ([], ["--set=images.repoloom=repoloom:2"])
    }
    assert len(builds) == 2


def test_the_pods_that_the_operator_starts_are_of_the_build_of_their_image() -> None:
    for image in ("repoloom:1", "repoloom:2"):
        objects = render(DEVELOPMENT, f"--set=images.repoloom={image}", "--set=operator.env[0].name=OTHER")
        settings = yaml.safe_load(named(objects, "ConfigMap", "operator")["data"]["settings.yaml"])
        build = named(objects, "ConfigMap", "environment")["data"]["REPOLOOM_BUILD"]
        assert settings["images"]["repoloom"] == image
        assert settings["env"] == [{"name": "REPOLOOM_BUILD", "value": build}, {"name": "OTHER"}]


def test_services_go_before_the_data_path_and_that_before_training() -> None:
    objects = render(DEVELOPMENT)
    values = {one["metadata"]["name"]: one["value"] for one in objects if one["kind"] == "PriorityClass"}
    of = {
        kind: named(objects, "Deployment", kind)["spec"]["template"]["spec"]["priorityClassName"]
        for kind in ("filter", "worker-cpu")
    }
    assert values[of["filter"]] > values[of["worker-cpu"]] > values["here-loom-repoloom-preemptible"]


def test_production_makes_no_secret_and_keeps_no_data_itself() -> None:
    kinds = {one["kind"] for one in render(*GIVEN)}
    assert not kinds & {"Secret", "StatefulSet"}


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "store"), ("Deployment", "redis")])
def test_an_upgrade_of_repoloom_leaves_what_a_development_cluster_keeps_its_data_in_alone(kind: str, name: str) -> None:
    before, after = (named(render(DEVELOPMENT, f"--set=images.repoloom=repoloom:{tag}"), kind, name) for tag in "12")
    assert before["spec"] == after["spec"]
    assert before["spec"]["template"]["metadata"]["labels"] == before["spec"]["selector"]["matchLabels"]


def test_traffic_that_is_not_named_is_refused() -> None:
    policies = [one["spec"] for one in render(DEVELOPMENT) if one["kind"] == "NetworkPolicy"]
    nothing = [one for one in policies if not one.keys() & {"ingress", "egress"}]
    assert nothing == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "loom"}}, "policyTypes": ["Ingress", "Egress"]}
    ]


@pytest.mark.parametrize(
    "key", ["x", "store.x", "store.development.x", "services.x", "services.filter.x", "workers.cpu.autoscaling.x"]
)
def test_a_key_that_is_not_known_is_an_error(key: str) -> None:
    assert "additional properties 'x' not allowed" in refused(DEVELOPMENT, f"--set={key}=1")


@pytest.mark.parametrize("part", ["store", "redis", "callers", "tls"])
def test_what_is_missing_is_said_with_the_way_out(part: str) -> None:
    said = refused(DEVELOPMENT, f"--set={part}.development.enabled=false")
    assert f"{part}.secretName is empty" in said
    assert f"{part}.development.enabled=true" in said
