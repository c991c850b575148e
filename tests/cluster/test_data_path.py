"""The data path on the cluster: the laptop's bytes, whatever pods are lost meanwhile."""

import random
import time
from typing import Any

from cluster import Namespace, output, wait_for

KINDS = ("worker-cpu", "worker-highmem", "operator", "run", "redis", "store", "filter")
PASSING = ("worker-highmem", "run")  # the first choice: they are there for a while only
BUILDS = 3  # at most
LIMIT = 300.0  # seconds of a build, on two cores that do everything else too


def test_each_service_answers_a_real_call(namespace: Namespace) -> None:
    said = output("helm", "test", "repoloom", "--namespace", namespace.name, "--logs", "--timeout", "3m")
    assert said.count(" answers") == 7


def test_workers_come_with_work_and_go_without_and_make_the_laptops_bytes(
    namespace: Namespace, recipe: dict[str, Any], laptop: str
) -> None:
    wait_for("no worker where there is no work", 120, lambda: not namespace.pods("worker-cpu"))
    namespace.make("CorpusBuild", "rising", recipe=recipe, store=namespace.store("rising"))
    wait_for("several workers", 120, lambda: len(namespace.pods("worker-cpu")) > 1)
    status = namespace.reaches("CorpusBuild", "rising", "Ready", LIMIT)
    assert status["digest"] == laptop
    assert status["progress"]["stepsDone"] == status["progress"]["stepsTotal"]
    for passage in status["funnel"]:
        assert passage["entering"] == passage["kept"] + sum(passage["dropped"].values())
    assert namespace.events("rising")["Built"] == f"the corpus is {laptop}"
    wait_for("no worker after the work", 180, lambda: not namespace.pods("worker-cpu"))


def test_pods_of_every_kind_that_are_killed_cost_no_byte(
    namespace: Namespace, recipe: dict[str, Any], laptop: str
) -> None:
    draw = random.Random(0)
    killed: set[str] = set()
    for number in range(BUILDS):
        name = f"stormy-{number}"
        namespace.make("CorpusBuild", name, recipe=recipe, store=namespace.store(name))
        until = time.monotonic() + LIMIT
        while namespace.status("CorpusBuild", name).get("phase") != "Ready":
            assert time.monotonic() < until, f"not done after all; killed: {killed}"
            left = [kind for kind in KINDS if kind not in killed]
            for kind in sorted(left, key=lambda kind: (kind not in PASSING, draw.random())):
                pods = namespace.running(name) if kind == "run" else namespace.pods(kind)
                if pods and namespace.kill(draw.choice(pods)):
                    killed.add(kind)
                    break
            time.sleep(draw.uniform(2, 6))
        assert namespace.status("CorpusBuild", name)["digest"] == laptop
        assert len(namespace.children("jobs", name)) == 1
        if killed == set(KINDS):
            return
    raise AssertionError(f"there were no pods of {set(KINDS) - killed}")
