"""The inference chart, as helm renders it: for every way of use what must be there, and nothing that is not known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm
import pytest
import yaml
from helm import restricted, templates

INSECURE = {"model": {"uri": "s3://bucket/m/model"}, "allowInsecure": True}
SECURE = {
    "model": {"uri": "s3://bucket/m/model", "sha256": "a" * 64},
    "tls": {"secretName": "tls", "clientCertificates": True},
    "callers": {"secretName": "callers"},
    "store": {"secretName": "store", "caSecretName": "authority"},
    "test": {"clientTlsSecretName": "client"},
}
CANARY = {"canary": {"enabled": True, "model": {"uri": "s3://bucket/n/model", "sha256": "b" * 64}, "replicas": 2}}
ALL = yaml.safe_load(Path(__file__).with_name("inference.yaml").read_text())

Objects = Mapping[tuple[str, str], Mapping[str, Any]]


def rendered(values: Mapping[str, Any]) -> Objects:
    return {(one["kind"], one["metadata"]["name"]): one for one in helm.render("inference", **values)}


def pod(objects: Objects, name: str = "code") -> Mapping[str, Any]:
    found = objects["Deployment", name]["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def environment(objects: Objects, name: str = "code") -> dict[str, str]:
    own = {one["name"]: one.get("value", "") for one in pod(objects, name)["containers"][0]["env"]}
    return {**objects["ConfigMap", "code"]["data"], **own}


@pytest.mark.parametrize("values", [INSECURE, SECURE, ALL], ids=["insecure", "secure", "all"])
def test_every_pod_passes_restricted_pod_security(values: Mapping[str, Any]) -> None:
    for template in templates(helm.render("inference", **values)):
        spec = template["spec"]
        assert restricted(spec)
        assert spec["automountServiceAccountToken"] is False
        assert all("/tmp" in [mount["mountPath"] for mount in each["volumeMounts"]] for each in spec["containers"])


def test_a_pod_without_tls_or_callers_is_rendered_only_where_that_is_said() -> None:
    for values in ({"model": {"uri": "s3://b/m"}}, {**INSECURE, "allowInsecure": False, "tls": {"secretName": "tls"}}):
        assert "allowInsecure" in helm.refused("inference", **values)
    assert environment(rendered(INSECURE))["REPOLOOM_SERVER_ALLOW_INSECURE"] == "true"
    assert "REPOLOOM_SERVER_ALLOW_INSECURE" not in environment(rendered(SECURE))


def test_the_model_and_its_digest_reach_the_pod() -> None:
    found = environment(rendered(SECURE))
    assert found["REPOLOOM_MODEL"] == "s3://bucket/m/model"
    assert found["REPOLOOM_MODEL_SHA256"] == "a" * 64
    assert "REPOLOOM_MODEL_SHA256" not in environment(rendered(INSECURE))


def test_secrets_are_had_by_name() -> None:
    objects = rendered(SECURE)
    spec, found = pod(objects), environment(objects)
    assert {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} == {
        "tls": "tls",
        "callers": "callers",
        "store-ca": "authority",
    }
    assert {"secretRef": {"name": "store"}} in spec["containers"][0]["envFrom"]
    mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    server = (f"REPOLOOM_SERVER_{name}_FILE" for name in ("CERT", "KEY", "CLIENT_CA", "CALLERS"))
    for variable in (*server, "AWS_CA_BUNDLE"):
        assert str(Path(found[variable]).parent) in mounts
    assert not any(kind == "Secret" for kind, _ in objects)


def test_the_variables_are_those_that_the_server_knows() -> None:
    from repoloom.rpc.settings import ServerSettings, from_environment
    from repoloom_inference.settings import InferenceSettings

    for values in (INSECURE, {**ALL, "serving": {"context": 512}}):
        found = environment(rendered(values))
        known = {f"REPOLOOM_SERVER_{field.upper()}" for field in ServerSettings.model_fields}
        known |= {f"REPOLOOM_INFERENCE_{field.upper()}" for field in InferenceSettings.model_fields}
        known |= {"REPOLOOM_MODEL", "REPOLOOM_MODEL_SHA256", "OMP_NUM_THREADS", "AWS_CA_BUNDLE"}
        assert set(found) <= known
        from_environment(ServerSettings, "REPOLOOM_SERVER", found)
        from_environment(InferenceSettings, "REPOLOOM_INFERENCE", found)


@pytest.mark.parametrize(("values", "scheme"), [(INSECURE, "http"), (SECURE, "https")])
def test_helm_test_asks_by_the_name_that_the_certificate_is_of(values: Mapping[str, Any], scheme: str) -> None:
    [address] = (one for one in rendered(values)["Pod", "code-test"]["spec"]["containers"][0]["env"])
    assert address == {"name": "ADDRESS", "value": f"{scheme}://code.here.svc:8000"}


def test_helm_test_needs_no_authority_in_the_secret_which_kubectl_puts_none_into() -> None:
    [secret] = (
        one["secret"] for one in rendered(SECURE)["Pod", "code-test"]["spec"]["volumes"] if one["name"] == "tls"
    )
    assert secret == {"secretName": "tls", "optional": True, "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_a_canary_is_a_second_deployment_behind_the_same_service() -> None:
    objects = rendered({**SECURE, **CANARY})
    stable, canary = objects["Deployment", "code"], objects["Deployment", "code-canary"]
    assert canary["spec"]["replicas"] == 2
    found = environment(objects, "code-canary")
    assert (found["REPOLOOM_MODEL"], found["REPOLOOM_MODEL_SHA256"]) == ("s3://bucket/n/model", "b" * 64)
    selector = objects["Service", "code"]["spec"]["selector"].items()
    for deployment in (stable, canary):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert selector <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    own = stable["spec"]["selector"]["matchLabels"].items()
    assert not own <= canary["spec"]["template"]["metadata"]["labels"].items()
    assert ("Deployment", "code-canary") not in rendered(SECURE)


def test_probes_need_no_certificate() -> None:
    container = pod(rendered(SECURE))["containers"][0]
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["metrics"] == 9090
    assert environment(rendered(SECURE))["REPOLOOM_SERVER_METRICS_ADDRESS"] == "0.0.0.0:9090"
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}


def test_a_roll_out_takes_no_pod_before_another_is_ready_and_gives_each_time_to_finish() -> None:
    objects = rendered({**INSECURE, "serving": {"requestSeconds": 40, "drainSeconds": 40, "preStopSeconds": 7}})
    assert objects["Deployment", "code"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spec = pod(objects)
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "7"]
    assert environment(objects)["REPOLOOM_SERVER_DRAIN_SECONDS"] == "40"
    assert spec["terminationGracePeriodSeconds"] > 47


@pytest.mark.parametrize("serving", [{"drainSeconds": 299}, {"requestSeconds": 301}])
def test_a_pod_that_is_stopped_has_as_long_as_a_request_may_take(serving: Mapping[str, Any]) -> None:
    found = environment(rendered(INSECURE))
    assert float(found["REPOLOOM_SERVER_DRAIN_SECONDS"]) >= float(found["REPOLOOM_INFERENCE_REQUEST_SECONDS"])
    assert "serving.drainSeconds is" in helm.refused("inference", **{**INSECURE, "serving": serving})


def test_pods_are_made_anew_when_their_settings_change() -> None:
    def checksum(values: Mapping[str, Any]) -> object:
        metadata = rendered(values)["Deployment", "code"]["spec"]["template"]["metadata"]
        return metadata["annotations"]["checksum/settings"]

    assert checksum(INSECURE) == checksum({**INSECURE, "replicas": 2})
    assert checksum(INSECURE) != checksum({**INSECURE, "serving": {"slots": 3}})


def test_an_autoscaler_has_the_replicas_to_itself() -> None:
    objects = rendered({**INSECURE, "autoscaling": {"enabled": True}})
    assert "replicas" not in objects["Deployment", "code"]["spec"]
    assert objects["HorizontalPodAutoscaler", "code"]["spec"]["scaleTargetRef"]["name"] == "code"
    assert rendered({**INSECURE, "replicas": 0})["Deployment", "code"]["spec"]["replicas"] == 0


def test_a_budget_is_there_where_pods_are_several_and_never_forbids_to_drain_the_only_one() -> None:
    assert ("PodDisruptionBudget", "code") not in rendered(INSECURE)
    assert ("PodDisruptionBudget", "code") in rendered({**INSECURE, "replicas": 2})


def test_the_network_lets_clients_in_and_the_store_out_and_no_more() -> None:
    policy = rendered(INSECURE)["NetworkPolicy", "code"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["http", "grpc"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 9000]
    watched = rendered(ALL)["NetworkPolicy", "code"]["spec"]["ingress"]
    assert [port["port"] for port in watched[1]["ports"]] == ["metrics"]


def test_where_clients_are_named_the_test_may_ask_too_and_nobody_else() -> None:
    client = {"podSelector": {"matchLabels": {"app": "editor"}}}
    objects = rendered({**INSECURE, "networkPolicy": {"clients": [client]}})
    [rule] = objects["NetworkPolicy", "code"]["spec"]["ingress"]
    assert rule["from"] == [client, {"podSelector": {"matchLabels": objects["Pod", "code-test"]["metadata"]["labels"]}}]


def test_a_gpu_is_asked_for_with_shared_memory_on_nodes_that_have_one() -> None:
    spec = pod(rendered(ALL))
    container = spec["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "/dev/shm" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert spec["nodeSelector"] == ALL["nodeSelector"]
    assert spec["tolerations"] == ALL["tolerations"]
    assert spec["priorityClassName"] == ALL["priorityClassName"]
    assert "nvidia.com/gpu" not in pod(rendered(INSECURE))["containers"][0]["resources"]["limits"]


def test_from_outside_the_api_alone_is_reached() -> None:
    objects = rendered(ALL)
    [rule] = objects["Ingress", "code"]["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/v1"]
    [route] = objects["HTTPRoute", "code"]["spec"]["rules"]
    assert [match["path"]["value"] for match in route["matches"]] == ["/v1"]


def test_a_gateway_knows_the_pods_by_their_authority_and_the_name_that_helm_test_asks_by() -> None:
    objects = rendered(ALL)
    [route] = objects["HTTPRoute", "code"]["spec"]["rules"]
    [backend] = route["backendRefs"]
    ports = {port["port"]: port["name"] for port in objects["Service", "code"]["spec"]["ports"]}
    target = {"group": "", "kind": "Service", "name": backend["name"], "sectionName": ports[backend["port"]]}
    assert objects["BackendTLSPolicy", "code"]["spec"] == {
        "targetRefs": [target],
        "validation": {
            "hostname": "code.here.svc",
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "authority"}],
        },
    }
    plain = {**INSECURE, "httpRoute": ALL["httpRoute"], "networkPolicy": ALL["networkPolicy"]}
    assert ("BackendTLSPolicy", "code") not in rendered(plain)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}, "needs httpRoute.caConfigMapName"),
        ({"ingress": {"enabled": True}}, "needs ingress.annotations or service.annotations"),
    ],
)
def test_nobody_from_outside_is_sent_to_a_port_of_tls_in_plain_text(part: Mapping[str, Any], said: str) -> None:
    open_to_all = {"networkPolicy": {"enabled": False}}
    assert said in helm.refused("inference", **{**SECURE, **open_to_all, **part})
    rendered({**INSECURE, **open_to_all, **part})


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ({"ingress": {"enabled": True}}, "networkPolicy.clients"),
        ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}, "networkPolicy.clients"),
        ({"service": {"type": "LoadBalancer"}}, "networkPolicy.clients"),
        ({"service": {"type": "NodePort"}}, "networkPolicy.clients"),
        ({"serviceMonitor": {"enabled": True}}, "networkPolicy.monitoring"),
    ],
)
def test_who_is_asked_to_come_in_is_let_in(part: Mapping[str, Any], key: str) -> None:
    assert f"needs {key}" in helm.refused("inference", **{**INSECURE, **part})
    name = key.removeprefix("networkPolicy.")
    rendered({**INSECURE, **part, "networkPolicy": {name: [{"namespaceSelector": {}}]}})
    rendered({**INSECURE, **part, "networkPolicy": {"enabled": False}})


@pytest.mark.parametrize(
    ("none", "limited"), [({"limits": None}, False), ({"limits": {"cpu": None}}, False), ({"requests": None}, True)]
)
def test_a_pod_may_be_without_limits_or_requests(none: Mapping[str, Any], limited: bool) -> None:
    assert ("OMP_NUM_THREADS" in environment(rendered({**INSECURE, "resources": none}))) is limited
