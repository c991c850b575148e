"""A new release while clients call and a job runs: no call fails, no job is lost; and back again."""

import json
from pathlib import Path

from cluster import Namespace, output, wait_for

SECONDS = 150  # in which both happen


def test_an_upgrade_and_a_rollback_cost_no_call_and_no_job(namespace: Namespace, corpus: str) -> None:
    target = f"dns:///repoloom-filter.{namespace.name}.svc:7000"
    places = (f"{corpus}/crawl", namespace.store("upgrade"))
    files = {"callers.py": Path(__file__).with_name("callers.py").read_text()}
    program = ("python", "/files/callers.py", target, *places, str(SECONDS))
    namespace.start("callers", namespace.image(), *program, files=files)
    wait_for("calls", 60, lambda: bool(namespace.get("job", "callers")["status"].get("ready")))
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
    assert json.loads(namespace.said("callers", 300))["calls"] > 100
