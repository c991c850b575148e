"""A new release while clients call and a job runs: no call fails, no job is lost; and back again."""

import json
from pathlib import Path

from cluster import Namespace, output, wait_for

SECONDS = 150  # in which both happen


def test_an_upgrade_and_a_rollback_cost_no_call_and_no_job(namespace: Namespace) -> None:
    namespace.start_run("before")
    namespace.digest("before", 300)
    target = f"dns:///repoloom-filter.{namespace.name}.svc:7000"
    places = (namespace.store("before/crawl"), namespace.store("upgrade"))
    namespace.start_script("callers", Path(__file__).with_name("callers.py"), target, *places, str(SECONDS))
    wait_for("calls", 60, lambda: bool(namespace.get("job", "callers")["status"].get("active")))
    before = namespace.image()
    after = before.partition("@")[0].rpartition(":")[0] + ":upgrade"
    output("docker", "tag", before.partition("@")[0], after)
    output("docker", "push", after)
    helm = ("--namespace", namespace.name, "--wait", "--timeout", "5m")
    output(
        "helm", "upgrade", "repoloom", "charts/repoloom", "--reuse-values", "--set", f"images.repoloom={after}", *helm
    )
    assert namespace.image() == after
    output("helm", "rollback", "repoloom", *helm)
    assert namespace.image() == before
    wait_for("the callers", 300, lambda: bool(namespace.get("job", "callers")["status"].get("succeeded")))
    said = json.loads(namespace.said("callers"))
    assert said["calls"] > 100
    assert namespace.get("job", "callers")["status"].get("failed", 0) == 0
