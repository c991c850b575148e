"""A recipe's data path on the cluster: the laptop's bytes, whatever pods are lost meanwhile."""

import random
import time

from cluster import Namespace, output, wait_for

KINDS = ("worker-cpu", "worker-highmem", "run", "redis", "store", "filter")
LIMIT = 300.0  # seconds of a run, on two cores that do everything else too


def test_each_service_answers_a_real_call(namespace: Namespace) -> None:
    said = output("helm", "test", "repoloom", "--namespace", namespace.name, "--logs", "--timeout", "3m")
    assert said.count(" answers") == 7


def test_workers_come_with_work_and_go_without_and_make_the_laptops_bytes(namespace: Namespace, laptop: str) -> None:
    wait_for("no worker where there is no work", 120, lambda: not namespace.pods("worker-cpu"))
    namespace.start_run("calm")
    wait_for("several workers", 120, lambda: len(namespace.pods("worker-cpu")) > 1)
    assert namespace.digest("calm", LIMIT) == laptop
    wait_for("no worker after the work", 180, lambda: not namespace.pods("worker-cpu"))


def test_pods_of_every_kind_that_are_killed_cost_no_byte(namespace: Namespace, laptop: str) -> None:
    draw, killed = random.Random(0), set()
    namespace.start_run("stormy")
    until = time.monotonic() + LIMIT
    while not namespace.get("job", "stormy")["status"].get("succeeded"):
        assert time.monotonic() < until, f"not done after all; killed: {killed}"
        kinds = [kind for kind in KINDS if kind not in killed] or KINDS
        kind = draw.choice(kinds)
        if pods := namespace.pods(kind):
            namespace.kubectl("delete", "pod", draw.choice(pods), "--grace-period=0", "--force")
            killed.add(kind)
        time.sleep(draw.uniform(3, 8) if set(KINDS) - killed else 60)
    assert killed == set(KINDS)
    assert namespace.digest("stormy", 1) == laptop
