"""Who reaches whom by the chart's network policies: a path needs the egress of one end and the ingress of the other."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from helm import DEVELOPMENT, Objects, render, templates

from repoloom_operator.children import pod_labels
from repoloom_operator.resources import PLURALS, SPECS, Kind, Resource

PORTS = (53, 80, 443, 6379, 6443, 7000, 9000, 9090, 29400)
ANY = set(PORTS)


@dataclass(frozen=True)
class End:
    """A pod, or with an address and in no namespace what is none."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "here"
    address: str = ""


def ends(objects: Objects) -> Iterator[tuple[str, End]]:
    for template in templates(objects):
        labels = template["metadata"]["labels"]
        yield labels.get("app.kubernetes.io/component", labels["app.kubernetes.io/name"]), End(labels)
    for kind in PLURALS:
        yield kind, End(pod_labels(of_kind(kind), "work"))
        yield f"{kind} there", End(pod_labels(of_kind(kind), "work"), "there")
    yield "run", End({f"repoloom.dev/{name}": "true" for name in ("data", "queue", "crawls")})
    yield from ((name, End(namespace=name)) for name in ("keda", "monitoring", "kube-system", "elsewhere"))
    yield "public host", End(namespace="", address="93.184.216.34")
    yield "API server", End(namespace="", address="10.96.0.1")


def of_kind(kind: Kind) -> Resource[Any]:
    refs = {"recipe": {}, "store": "", "out": "", "corpusRef": {"name": "c"}, "trainingRef": {"name": "t"}}
    metadata = {"namespace": "here", "name": "n", "uid": "u", "generation": 1, "resourceVersion": "1"}
    return Resource.parse(kind, {"metadata": metadata, "spec": refs}, SPECS[kind])


INFERENCE = {
    "model": {"uri": "s3://repoloom/data/model"},
    "allowInsecure": True,
    "podLabels": {"repoloom.dev/data": "true"},
    "networkPolicy": {"egress": []},
}
"""A server of a model in the development store: the label is all that lets it out."""


class Network:
    """A release whose operator watches the namespace `there` too, and an inference server beside it."""

    def __init__(self, **values: Any) -> None:
        values = {"operator": {"namespaces": ["there"]}, **values}
        objects = render("repoloom", DEVELOPMENT, **values) + render("inference", **INFERENCE)
        self.policies = [
            (one["metadata"].get("namespace", "here"), one["spec"]) for one in objects if one["kind"] == "NetworkPolicy"
        ]
        self.ends = dict(ends(objects))

    def ports(self, source: str, target: str) -> set[int]:
        one, other = self.ends[source], self.ends[target]
        return {
            port
            for port in PORTS
            if self._lets(one, "Egress", "to", other, port) and self._lets(other, "Ingress", "from", one, port)
        }

    def _lets(self, own: End, way: str, peers: str, other: End, port: int) -> bool:
        policies = [
            policy
            for namespace, policy in self.policies
            if namespace == own.namespace and way in policy["policyTypes"] and selects(policy["podSelector"], own)
        ]
        rules = [rule for policy in policies for rule in policy.get(way.lower(), ())]
        return not policies or any(
            (peers not in rule or any(is_peer(peer, other, own.namespace) for peer in rule[peers]))
            and ("ports" not in rule or port in [each["port"] for each in rule["ports"]])
            for rule in rules
        )


def selects(selector: Mapping[str, Any], end: End) -> bool:
    return selector.get("matchLabels", {}).items() <= end.labels.items() and all(
        holds(expression, end.labels) for expression in selector.get("matchExpressions", ())
    )


def holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    match expression:
        case {"operator": "In", "key": key, "values": values}:
            return labels.get(key) in values
        case {"operator": "Exists", "key": key}:
            return key in labels
    raise AssertionError(expression)


def is_peer(peer: Mapping[str, Any], end: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        inside = [ipaddress.ip_network(net) for net in (peer["ipBlock"]["cidr"], *peer["ipBlock"].get("except", ()))]
        return bool(end.address) and [ipaddress.ip_address(end.address) in net for net in inside] == [
            True,
            *[False] * (len(inside) - 1),
        ]
    if "namespaceSelector" in peer:
        namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return end.namespace == namespace and selects(peer.get("podSelector", {}), end)


STORE = {"kube-system": {53}, "store": {9000}}
BOTH = STORE | {"redis": {6379}}
CRAWLED = {"public host": {80, 443}}
OUTSIDE = ("API server", "public host", "keda", "monitoring", "elsewhere")  # wherever the API server may be
REACHED: dict[str, dict[str, set[int]]] = {
    "filter": BOTH,
    "crawler": BOTH | CRAWLED,
    "worker-cpu": BOTH | CRAWLED,
    "run": BOTH | CRAWLED,
    "CorpusBuild": BOTH | CRAWLED,
    "TrainingRun": STORE | {"TrainingRun": ANY},
    "ModelRelease": STORE,
    "CorpusBuild there": BOTH | CRAWLED,
    "TrainingRun there": STORE | {"TrainingRun there": ANY},
    "ModelRelease there": STORE,
    "inference": STORE | {name: {53} for name in (*OUTSIDE, "kube-system")},
    "operator": STORE | {name: {443, 6443} for name in OUTSIDE} | {"kube-system": {53, 443, 6443}},
    "test": {"kube-system": {53}, "filter": {7000}, "crawler": {7000}},
    "redis": {},
    "store": {},
    "keda": {"redis": {6379}},
    "monitoring": {name: {9090} for name in ("filter", "crawler", "worker-cpu", "operator")},
    "elsewhere": {},
}
"""Of each kind of pod, whom it reaches at which ports; of others' pods, what they reach of the chart's."""


@pytest.mark.parametrize("source", REACHED)
def test_each_pod_reaches_what_it_needs_and_nothing_else(source: str) -> None:
    network = Network()
    others = {name for name, end in network.ends.items() if end.namespace not in ("here", "there")}
    targets = set(REACHED) | others
    targets -= {"run"}  # its user's own
    targets -= others if source in others else set()
    reached = {target: ports for target in targets if (ports := network.ports(source, target))}
    assert reached == REACHED[source]


def test_a_crawl_reaches_what_values_name_and_none_but_who_crawls_does() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.96.0.0/16"}}], "ports": [{"port": 29400}]}
    network = Network(networkPolicies={"crawl": [rule]})
    reach = {source for source in REACHED if 29400 in network.ports(source, "API server")}
    assert reach - {"keda", "monitoring", "elsewhere"} == {
        who for who, whom in REACHED.items() if CRAWLED.items() <= whom.items()
    }
