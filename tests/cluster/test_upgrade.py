"""A new release while clients call and a job runs: no call fails, no job is lost; and back again."""

import json
from pathlib import Path

from cluster import Namespace, output, wait_for

CALLERS = Path(__file__).with_name("callers.py")


def test_an_upgrade_and_a_rollback_cost_no_call_and_no_job(
    namespace: Namespace, corpus: str, digests: dict[str, str]
) -> None:
    program = ("python", "/files/callers.py", f"dns:///repoloom-filter.{namespace.name}.svc:7000")
    places = (f"{corpus}/crawl", namespace.store("upgrade"))
    files = {"callers.py": CALLERS.read_text()}
    namespace.start("callers", namespace.image(), *program, *places, files=files)
    wait_for("calls", 60, lambda: bool(namespace.get("job", "callers")["status"].get("ready")))
    before = namespace.image()
    name, _, digest = before.partition("@sha256:")
    after = f"{name.rpartition(':')[0]}:upgrade-{digest[:12]}"  # nodes keep what they once pulled by a name
    output("docker", "tag", name, after)
    output("docker", "push", after)
    helm = ("--namespace", namespace.name, "--wait", "--timeout", "5m")
    new = ("--reset-then-reuse-values", "--set", f"images.repoloom={after}")
    output("helm", "upgrade", "repoloom", "charts/repoloom", *new, *helm)
    assert namespace.image() == after
    output("helm", "rollback", "repoloom", *helm)
    assert namespace.image() == before
    namespace.kubectl("exec", "job/callers", "--", "sh", "-c", "kill -TERM 1")
    said = json.loads(namespace.said("callers", 300))
    assert said["calls"] > 100
    assert said["digest"] == digests["filter"]
