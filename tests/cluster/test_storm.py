"""From sources to a released model while pods of every kind are killed: the bytes and the weights of a calm run."""

import random
import time
from typing import Any

from cluster import Namespace, chain

PASSING = {"CorpusBuild", "TrainingRun", "ModelRelease", "worker-highmem"}  # they are there for a while only
SERVICES = {"crawler", "filter", "dependency-sorter", "deduper", "quality-scorer", "decontaminator", "tokenizer"}
KINDS = {*PASSING, *SERVICES, "operator", "worker-cpu", "redis", "store"}
CHAINS = 3  # at most
LIMIT = 600.0  # seconds of one, on two cores that do everything else too


def test_pods_of_every_kind_that_are_killed_cost_no_byte(
    namespace: Namespace, corpus: str, recipe: dict[str, Any], laptop: str
) -> None:
    draw = random.Random(0)
    killed: set[str] = set()
    for number in range(CHAINS):
        name = f"stormy-{number}"
        namespace.apply(*chain(name, recipe, f"{corpus}-{name}"))
        until = time.monotonic() + LIMIT
        while namespace.status("ModelRelease", name).get("phase") != "Released":
            assert time.monotonic() < until, f"not done after all; killed: {killed}"
            pods = _pods(namespace, name)
            for kind in sorted(pods.keys() & KINDS - killed, key=lambda kind: (kind not in PASSING, draw.random())):
                if namespace.kill(draw.choice(pods[kind])):
                    killed.add(kind)
                    break
            time.sleep(draw.uniform(2, 6))
        assert namespace.status("CorpusBuild", name)["digest"] == laptop
        assert len(namespace.children("jobs", name)) == 2
        assert _weights(namespace, name) == _weights(namespace, "calm")
        if killed == KINDS:
            return
    raise AssertionError(f"there were no pods of {KINDS - killed}")


def _pods(namespace: Namespace, name: str) -> dict[str, list[str]]:
    """The pods that live, by kind: those of the custom resources of a name by theirs, others by their component."""
    found: dict[str, list[str]] = {}
    for pod in namespace.get("pods")["items"]:
        labels = pod["metadata"].get("labels", {})
        mine = labels.get("repoloom.dev/name") == name and labels["repoloom.dev/kind"]
        kind = mine or labels.get("app.kubernetes.io/component")
        if kind and "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in ("Pending", "Running"):
            found.setdefault(kind, []).append(pod["metadata"]["name"])
    return found


def _weights(namespace: Namespace, training: str) -> str:
    return str(namespace.reaches("TrainingRun", training, "Succeeded", LIMIT)["weights"])
