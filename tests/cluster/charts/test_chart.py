"""What the chart makes of values, without a cluster: `make charts`."""

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import helm
import pytest
import yaml
from helm import BARE, DEVELOPMENT, Object, Objects, restricted, templates

from repoloom_operator.settings import SETTING, Settings

PRODUCTION = f"--values={Path(__file__).with_name('production.yaml')}"
SERVICES = {
    "crawler",
    "decontaminator",
    "deduper",
    "dependency-sorter",
    "filter",
    "quality-scorer",
    "tokenizer",
}
WORKERS = {"worker-cpu", "worker-highmem"}

render = partial(helm.render, "repoloom")
refused = partial(helm.refused, "repoloom")


def named(objects: Objects, kind: str, name: str) -> Object:
    return helm.named(objects, kind, f"loom-repoloom-{name}")


def pod(objects: Objects, name: str) -> Object:
    spec: Object = named(objects, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def operator_settings(objects: Objects) -> Object:
    settings: Object = yaml.safe_load(named(objects, "ConfigMap", "operator")["data"]["settings.yaml"])
    return settings


def of_keda(objects: Objects) -> list[str]:
    return [one["kind"] for one in objects if one["apiVersion"].startswith("keda.sh")]


@pytest.mark.parametrize("values", [(DEVELOPMENT,), (DEVELOPMENT, "--set=development.sync=true"), (PRODUCTION,)])
def test_every_pod_is_of_the_restricted_kind_and_only_the_operator_has_a_token(values: tuple[str, ...]) -> None:
    specs = [template["spec"] for template in templates(render(*values))]
    assert len(specs) >= 9
    for spec in specs:
        assert spec["automountServiceAccountToken"] is spec["serviceAccountName"].endswith("-operator")
        assert restricted(spec)


def test_changed_code_can_be_put_into_every_pod_that_runs_it_and_has_it_start_anew() -> None:
    objects = render(DEVELOPMENT, "--set=development.sync=true")
    for name in (*SERVICES, *WORKERS, "operator"):
        spec = pod(objects, name)
        [container], [code] = spec["containers"], spec["initContainers"]
        assert container["command"][:3] == ["python", "-m", "repoloom.up.reload"]
        assert {"name": "code", "mountPath": "/app"} in container["volumeMounts"]
        assert {"name": "code", "emptyDir": {}} in spec["volumes"]
        assert (code["image"], code["command"]) == (container["image"], ["cp", "-r", "/app/.", "/code"])


def test_each_service_has_all_that_it_needs() -> None:
    objects = render(PRODUCTION)
    for service in SERVICES:
        container = pod(objects, service)["containers"][0]
        assert container["command"] == ["repoloom-service", service.replace("-", "_")]
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": 7000, "metrics": 9090}
        assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
        assert named(objects, "Service", service)["spec"]["clusterIP"] == "None"
        assert named(objects, "PodDisruptionBudget", service)["spec"]["maxUnavailable"] == 1
        assert named(objects, "HorizontalPodAutoscaler", service)["spec"]["minReplicas"] == 2


@pytest.mark.parametrize("values", [DEVELOPMENT, PRODUCTION])
def test_no_probe_asks_a_port_that_wants_tls_or_a_certificate(values: str) -> None:
    probed = set()
    for template in templates(render(values)):
        for container in template["spec"]["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for probe in (container[key] for key in container if key.endswith("Probe")):
                (how,) = probe.keys() & {"httpGet", "tcpSocket", "exec", "grpc"}
                assert probe[how].get("scheme", "HTTP") == "HTTP"
                probed.add(ports[probe[how]["port"]])
    assert probed == {8080, 9090} | ({6379, 9000} if values == DEVELOPMENT else set())


@pytest.mark.parametrize(("own", "shown"), [("", "given"), ("client", "client")])
def test_helm_test_shows_a_certificate_of_its_own_or_the_services(own: str, shown: str) -> None:
    spec = helm.named(render(PRODUCTION, tls={"testSecretName": own}), "Pod", "loom-repoloom-test")["spec"]
    (container,) = spec["containers"]
    secrets = {volume["name"]: volume["secret"] for volume in spec["volumes"] if "secret" in volume}
    mounted = {mount["mountPath"]: secrets.get(mount["name"]) for mount in container["volumeMounts"]}
    for name in ("CERT", "KEY"):
        (file,) = (entry["value"] for entry in container["env"] if entry["name"] == f"REPOLOOM_CLIENT_{name}_FILE")
        assert mounted[str(Path(file).parent)] == {"secretName": shown}
    assert mounted["/etc/repoloom/tls"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_one_service_may_differ_from_the_defaults() -> None:
    objects = render(DEVELOPMENT, services={"filter": {"replicas": 3, "resources": {"limits": {"memory": "9Gi"}}}})
    assert named(objects, "Deployment", "filter")["spec"]["replicas"] == 3
    assert pod(objects, "filter")["containers"][0]["resources"]["limits"]["memory"] == "9Gi"
    assert named(objects, "Deployment", "deduper")["spec"]["replicas"] == 1


def test_only_what_answers_calls_stands_in_the_way_of_a_drain() -> None:
    budgets = [one["metadata"]["name"] for one in render(PRODUCTION) if one["kind"] == "PodDisruptionBudget"]
    assert set(budgets) == {f"loom-repoloom-{service}" for service in SERVICES}


def test_what_is_several_is_spread_over_zones_and_nodes() -> None:
    objects = render(PRODUCTION)
    for name in SERVICES | WORKERS:
        spec = named(objects, "Deployment", name)["spec"]
        constraints = spec["template"]["spec"]["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert all(one["labelSelector"] == spec["selector"] for one in constraints)


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
    objects = render(DEVELOPMENT, workers={"cpu": {"concurrency": concurrency}})
    modifiers = named(objects, "ScaledObject", "worker-cpu")["spec"]["advanced"]["scalingModifiers"]
    assert modifiers["metricType"] == "AverageValue"
    wanted = eval(modifiers["formula"], {"max": max, "waiting": waiting, "running": running})
    assert (wanted > float(modifiers["activationTarget"])) == bool(workers)
    assert math.ceil(wanted / float(modifiers["target"])) == workers


def test_without_keda_workers_are_of_a_fixed_number_or_it_is_said_what_lacks() -> None:
    fixed = {"defaults": {"replicas": 3, "autoscaling": {"enabled": False}}}
    objects = render(DEVELOPMENT, cluster=(BARE,), workers=fixed)
    assert not of_keda(objects)
    assert {named(objects, "Deployment", name)["spec"]["replicas"] for name in WORKERS} == {3}

    one_scaled = {**fixed, "highmem": {"autoscaling": {"enabled": True}}}
    assert of_keda(render(DEVELOPMENT, workers=one_scaled)) == ["ScaledObject", "TriggerAuthentication"]
    said = refused(DEVELOPMENT, cluster=(BARE,), workers=one_scaled)
    assert "KEDA is to scale the workers highmem" in said
    assert "workers.defaults.autoscaling.enabled=false" in said


def test_a_store_and_a_redis_elsewhere_are_found_by_all_that_use_them() -> None:
    objects = render(PRODUCTION, redis={"port": 6380, "database": 3, "secretName": "password"})
    assert named(objects, "ConfigMap", "environment")["data"]["AWS_ENDPOINT_URL"] == "https://s3.example"
    assert named(objects, "ConfigMap", "queue")["data"]["REPOLOOM_REDIS_URL"] == "rediss://given:6380/3"
    for trigger in named(objects, "ScaledObject", "worker-cpu")["spec"]["triggers"]:
        told = trigger["metadata"]
        assert (told["address"], told["databaseIndex"], told["enableTLS"]) == ("given:6380", "3", "true")
        assert trigger["authenticationRef"] == {"name": "loom-repoloom-redis"}
    password, _ = named(objects, "TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
    assert (password["name"], password["key"]) == ("password", "REPOLOOM_REDIS_PASSWORD")
    store, queue = (
        [{"configMapRef": {"name": f"loom-repoloom-{settings}"}}, {"secretRef": {"name": secret}}]
        for settings, secret in (("environment", "given"), ("queue", "password"))
    )
    for name in SERVICES | WORKERS:
        assert pod(objects, name)["containers"][0]["envFrom"] == [*store, *queue]
    assert pod(objects, "operator")["containers"][0]["envFrom"] == store
    started = operator_settings(objects)
    assert (started["envFrom"], started["data"]["envFrom"]) == (store, queue)
    assert "envFrom" not in started["training"] | started["evaluation"]


def test_a_private_authority_is_known_to_all_that_use_what_it_signed_and_to_no_others() -> None:
    def files(pod: Object, mounts: Objects) -> dict[str, str]:
        secrets = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
        found = {f"{each['mountPath']}/ca.crt": secrets.get(each["name"], "") for each in mounts}
        return {file: secret for file, secret in found.items() if secret.endswith("-authority")}

    corpus = {"volumes": [{"name": "corpus"}], "volumeMounts": [{"name": "corpus", "mountPath": "/corpus"}]}
    objects = render(PRODUCTION, operator={"data": corpus})
    store = {named(objects, "ConfigMap", "environment")["data"]["AWS_CA_BUNDLE"]: "s3-authority"}
    both = {**store, named(objects, "ConfigMap", "queue")["data"]["REPOLOOM_REDIS_CA"]: "redis-authority"}
    for name, known in {**dict.fromkeys(SERVICES | WORKERS, both), "operator": store}.items():
        spec = pod(objects, name)
        assert files(spec, spec["containers"][0]["volumeMounts"]) == known
    started = operator_settings(objects)
    for name, known in {"data": both, "training": store, "evaluation": store}.items():
        assert files(started[name], started[name]["volumeMounts"]) == known
    assert {key: started["data"][key][2:] for key in corpus} == corpus
    _, authority = named(objects, "TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
    assert authority == {"parameter": "ca", "name": "redis-authority", "key": "ca.crt"}


def test_workers_are_told_of_a_mirror() -> None:
    mirror = {"name": "PIP_INDEX_URL", "value": "https://mirror.example/simple"}
    objects = render(DEVELOPMENT, workers={"defaults": {"env": [mirror]}})
    for name in WORKERS:
        assert mirror in pod(objects, name)["containers"][0]["env"]


@pytest.mark.parametrize("service", ["", "local-files"])
def test_what_a_crawl_may_reach_is_said_to_who_crawls_and_to_the_service_by_itself(service: str) -> None:
    objects = render(
        DEVELOPMENT,
        services={"crawler": {"crawlAllow": service}},
        workers={"crawlAllow": "local-files,ssh"},
        networkPolicies={"crawl": [{"ports": [{"port": 22}]}]},
    )
    told = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]: entry["value"]
        for template in templates(objects)
        for entry in template["spec"]["containers"][0].get("env", ())
        if entry["name"] == "REPOLOOM_CRAWL_ALLOW"
    }
    assert told == {"crawler": service} | dict.fromkeys(WORKERS, "local-files,ssh")
    assert "REPOLOOM_CRAWL_ALLOW" not in named(objects, "ConfigMap", "environment")["data"]
    settings = operator_settings(objects)
    assert settings["data"]["env"] == [{"name": "REPOLOOM_CRAWL_ALLOW", "value": "local-files,ssh"}]
    assert "env" not in settings["training"] | settings["evaluation"]


def test_another_image_is_another_build() -> None:
    builds = {
        named(render(DEVELOPMENT, **more), "ConfigMap", "environment")["data"]["REPOLOOM_BUILD"]
        for more in ({}, {"images": {"repoloom": "repoloom:2"}})
    }
    assert len(builds) == 2


def test_the_pods_that_the_operator_starts_are_of_the_build_of_their_image() -> None:
    for image in ("repoloom:1", "repoloom:2"):
        objects = render(DEVELOPMENT, images={"repoloom": image}, operator={"env": [{"name": "OTHER"}]})
        settings = operator_settings(objects)
        build = named(objects, "ConfigMap", "environment")["data"]["REPOLOOM_BUILD"]
        assert settings["images"]["repoloom"] == image
        assert settings["env"] == [{"name": "REPOLOOM_BUILD", "value": build}, {"name": "OTHER"}]


def test_the_operator_reads_all_that_it_is_told(tmp_path: Path) -> None:
    pods = {
        "resources": {"requests": {"cpu": 2, "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [{"name": "corpus", "emptyDir": {}}],
        "volumeMounts": [{"name": "corpus", "mountPath": "/corpus"}],
    }
    told = {
        "retries": 7,
        "lookSeconds": 2.5,
        "data": pods,
        "training": {**pods, "job": "TrainJob", "queue": "gpus", "schedulingQueue": "gang"},
        "evaluation": pods,
    }
    public = {"store": {"caSecretName": ""}, "redis": {"caSecretName": ""}}
    objects = render(PRODUCTION, operator=told, **public, images={"training": "training:7", "pullPolicy": "Always"})
    file = tmp_path / "settings.yaml"
    file.write_text(named(objects, "ConfigMap", "operator")["data"]["settings.yaml"])
    read = Settings.load({SETTING: str(file)}).model_dump(mode="json", by_alias=True)
    assert {name: read[name] for name in ("retries", "lookSeconds")} == {"retries": 7, "lookSeconds": 2.5}
    for name in ("data", "training", "evaluation"):
        assert {key: read[name][key] for key in told[name]} == told[name]
    assert read["serviceAccount"] == "loom-repoloom"
    assert read["storeRoots"] == [named(objects, "ConfigMap", "environment")["data"]["REPOLOOM_STORE_ROOTS"]]
    assert read["images"] == {
        "repoloom": "repoloom:0.1.0",
        "training": "training:7",
        "pullPolicy": "Always",
        "pullSecrets": ["registry"],
    }


def test_services_go_before_workers_these_before_trainings_and_none_before_pods_of_others() -> None:
    objects = render(DEVELOPMENT)
    value = {one["metadata"]["name"]: one["value"] for one in objects if one["kind"] == "PriorityClass"}
    started = operator_settings(objects)
    services = {value[pod(objects, name)["priorityClassName"]] for name in SERVICES | {"operator"}}
    workers = {value[pod(objects, name)["priorityClassName"]] for name in WORKERS}
    workers.add(value[started["data"]["priorityClass"]])
    trainings = {value[started[name]["priorityClass"]] for name in ("training", "evaluation")}
    without_class, nodes_are_added_for = 0, -10
    assert without_class >= max(services)
    assert min(services) > max(workers)
    assert min(workers) > max(trainings)
    assert min(trainings) >= nodes_are_added_for


def test_production_makes_no_secret_and_keeps_no_data_itself() -> None:
    kinds = {one["kind"] for one in render(PRODUCTION)}
    assert not kinds & {"Secret", "StatefulSet"}


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "store"), ("Deployment", "redis")])
def test_an_upgrade_of_repoloom_leaves_what_a_development_cluster_keeps_its_data_in_alone(kind: str, name: str) -> None:
    before, after = (named(render(DEVELOPMENT, images={"repoloom": f"repoloom:{tag}"}), kind, name) for tag in "12")
    assert before["spec"] == after["spec"]
    assert before["spec"]["template"]["metadata"]["labels"] == before["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("values", "anew"),
    [
        ({"store": {"region": "elsewhere"}}, SERVICES | WORKERS | {"operator"}),
        ({"operator": {"retries": 9}}, {"operator"}),
        ({"services": {"filter": {"env": [{"name": "A", "value": "b"}]}}}, {"filter"}),
        ({"services": {"filter": {"replicas": 9}}, "networkPolicies": {"enabled": False}}, set()),
    ],
)
def test_pods_are_made_anew_where_their_settings_change_and_no_others(
    values: Mapping[str, Any], anew: set[str]
) -> None:
    before, after = render(DEVELOPMENT), render(DEVELOPMENT, **values)
    names = SERVICES | WORKERS | {"operator", "redis"}
    pods = [
        {name: named(objects, "Deployment", name)["spec"]["template"] for name in names} for objects in (before, after)
    ]
    assert {name for name in names if pods[0][name] != pods[1][name]} == anew


def test_monitoring_finds_all_that_have_metrics() -> None:
    objects = render(PRODUCTION)
    monitor = helm.named(objects, "PodMonitor", "loom-repoloom")["spec"]
    (port,) = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    with_metrics = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for template in templates(objects)
        if monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        and port in [each["name"] for each in template["spec"]["containers"][0]["ports"]]
    }
    assert with_metrics == SERVICES | WORKERS
    assert "PodMonitor" not in {one["kind"] for one in render(DEVELOPMENT)}


def test_definitions_stay_when_the_release_goes_and_are_brought_by_one_release() -> None:
    kinds = [one for one in render(DEVELOPMENT) if one["kind"] == "CustomResourceDefinition"]
    assert len(kinds) == 3
    assert all(one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for one in kinds)
    others = render(DEVELOPMENT, crds={"create": False})
    assert "CustomResourceDefinition" not in {one["kind"] for one in others}


def test_each_column_of_a_custom_resource_is_a_field_of_it() -> None:
    for definition in (one for one in render(DEVELOPMENT) if one["kind"] == "CustomResourceDefinition"):
        (version,) = definition["spec"]["versions"]
        columns = version["additionalPrinterColumns"]
        assert [columns[0]["name"], columns[1]["name"], columns[-1]["name"]] == ["Phase", "Reason", "Age"]
        for path in [column["jsonPath"] for column in columns[:-1]]:
            field = version["schema"]["openAPIV3Schema"]
            for name in re.sub(r"\[.*?\]", "", path).split(".")[1:]:
                field = field.get("items", field)["properties"][name]


@pytest.mark.parametrize("part", ["store", "redis", "callers", "tls"])
def test_what_is_missing_is_said_with_the_way_out(part: str) -> None:
    said = refused(DEVELOPMENT, **{part: {"development": {"enabled": False}}})
    assert f"{part}.secretName is empty" in said
    assert f"{part}.development.enabled=true" in said
