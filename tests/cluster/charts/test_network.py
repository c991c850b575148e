"""Who reaches whom by the chart's network policies: a path needs the egress of one end and the ingress of the other."""

import ipaddress
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from repoloom_operator.children import pod_labels
from repoloom_operator.resources import PLURALS, SPECS, Kind, Resource

CHART = Path(__file__).parents[3] / "charts/repoloom"
PORTS = (53, 80, 443, 6379, 6443, 7000, 9000, 9090, 29400)
ANY = set(PORTS)


@dataclass(frozen=True)
class End:
    """A pod, or with an address what is none."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "here"
    address: str = ""


def ends(objects: list[dict[str, Any]]) -> Iterator[tuple[str, End]]:
    for one in objects:
        if one["kind"] in ("Pod", "Deployment", "StatefulSet"):
            labels = one["spec"].get("template", one)["metadata"]["labels"]
            yield labels["app.kubernetes.io/component"], End(labels)
    for kind in PLURALS:
        yield kind, End(pod_labels(of_kind(kind), "work"))
    yield "run", End({"repoloom.dev/data": "true", "repoloom.dev/crawls": "true"})
    yield from ((name, End(namespace=name)) for name in ("keda", "monitoring", "kube-system", "elsewhere"))
    yield "public host", End(address="93.184.216.34")
    yield "API server", End(address="10.96.0.1")


def of_kind(kind: Kind) -> Resource[Any]:
    refs = {"recipe": {}, "store": "", "out": "", "corpusRef": {"name": "c"}, "trainingRef": {"name": "t"}}
    metadata = {"namespace": "here", "name": "n", "uid": "u", "generation": 1, "resourceVersion": "1"}
    return Resource.parse(kind, {"metadata": metadata, "spec": refs}, SPECS[kind])


class Network:
    def __init__(self) -> None:
        values = f"--values={CHART}/development.yaml"
        command = ["helm", "template", "loom", str(CHART), "--namespace=here", "--kube-version=1.34", values]
        done = subprocess.run(command, text=True, capture_output=True, check=True)
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        self.policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
        self.ends = dict(ends(objects))

    def ports(self, source: str, target: str) -> set[int]:
        one, other = self.ends[source], self.ends[target]
        return {
            port
            for port in PORTS
            if self._lets(one, "Egress", "to", other, port) and self._lets(other, "Ingress", "from", one, port)
        }

    def _lets(self, own: End, way: str, peers: str, other: End, port: int) -> bool:
        if own.address or own.namespace != "here":
            return True  # no policy of the chart is there
        about = [policy for policy in self.policies if way in policy["policyTypes"]]
        own_policies = [policy for policy in about if selects(policy["podSelector"], own)]
        rules = [rule for policy in own_policies for rule in policy.get(way.lower(), ())]
        return not own_policies or any(
            (peers not in rule or any(is_peer(peer, other) for peer in rule[peers]))
            and ("ports" not in rule or port in [each["port"] for each in rule["ports"]])
            for rule in rules
        )


def selects(selector: Mapping[str, Any], end: End) -> bool:
    one_of = {each["key"]: each["values"] for each in selector.get("matchExpressions", ()) if each["operator"] == "In"}
    assert len(one_of) == len(selector.get("matchExpressions", ()))
    return (
        not end.address
        and selector.get("matchLabels", {}).items() <= end.labels.items()
        and all(end.labels.get(key) in values for key, values in one_of.items())
    )


def is_peer(peer: Mapping[str, Any], end: End) -> bool:
    if "ipBlock" in peer:
        inside = [ipaddress.ip_network(net) for net in (peer["ipBlock"]["cidr"], *peer["ipBlock"].get("except", ()))]
        return bool(end.address) and [ipaddress.ip_address(end.address) in net for net in inside] == [
            True,
            *[False] * (len(inside) - 1),
        ]
    if "namespaceSelector" in peer:
        name = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        return not end.address and name == end.namespace and selects(peer.get("podSelector", {}), end)
    return end.namespace == "here" and selects(peer["podSelector"], end)


KEPT = {"kube-system": {53}, "redis": {6379}, "store": {9000}}
CRAWLED = {"public host": {80, 443}}
OUTSIDE = ("API server", "public host", "keda", "monitoring", "elsewhere")  # wherever the API server may be
REACHED: dict[str, dict[str, set[int]]] = {
    "filter": KEPT,
    "crawler": KEPT | CRAWLED,
    "worker-cpu": KEPT | CRAWLED,
    "run": KEPT | CRAWLED,
    "CorpusBuild": KEPT | CRAWLED,
    "TrainingRun": KEPT | {"TrainingRun": ANY},
    "ModelRelease": KEPT,
    "operator": KEPT | {name: {443, 6443} for name in OUTSIDE} | {"kube-system": {53, 443, 6443}},
    "test": {"kube-system": {53}, "filter": {7000}, "crawler": {7000}},
    "redis": {},
    "store": {},
    "keda": {"redis": {6379, 9000}, "store": {6379, 9000}},
    "monitoring": {name: {9090} for name in ("filter", "crawler", "worker-cpu", "operator")},
    "elsewhere": {},
}
"""Of each kind of pod, whom it reaches at which ports; of others' pods, what they reach of the chart's."""


@pytest.mark.parametrize("source", REACHED)
def test_each_pod_reaches_what_it_needs_and_nothing_else(source: str) -> None:
    network = Network()
    foreign = network.ends[source].namespace != "here"
    unguarded = {"run", "CorpusBuild", "ModelRelease"}  # they listen at no port
    others = {name for name, end in network.ends.items() if end.address or end.namespace != "here"}
    targets = set(REACHED) | others
    targets -= unguarded | (others if foreign else set())
    reached = {target: ports for target in targets if (ports := network.ports(source, target))}
    assert reached == REACHED[source]
