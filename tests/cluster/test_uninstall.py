"""Removing everything and installing it again, as docs/kubernetes.md has it: what lies in the store is there still."""

from typing import Any

from cluster import KINDS, Namespace, chain, output, wait_for

IDLE = ("--set=workers.defaults.autoscaling.enabled=false", "--set=workers.defaults.replicas=0")


def test_a_release_that_is_removed_and_installed_again_makes_nothing_anew(
    namespace: Namespace, corpus: str, recipe: dict[str, Any], laptop: str
) -> None:
    where = ("--namespace", namespace.name, "--wait", "--timeout=5m")
    before = namespace.reaches("ModelRelease", "calm", "Released", 300)
    namespace.kubectl("delete", KINDS, "--all", "--timeout=180s")
    values = output("helm", "get", "values", "repoloom", "--namespace", namespace.name, "--output=yaml")
    output("helm", "uninstall", "repoloom", *where)
    wait_for("its pods have ended", 180, lambda: not namespace.pods("operator") + namespace.pods("store"))
    output("helm", "install", "repoloom", "charts/repoloom", *where, "--values=-", *IDLE, given=values)
    namespace.apply(*chain("calm", recipe, corpus))
    assert namespace.reaches("CorpusBuild", "calm", "Ready", 180)["digest"] == laptop
    assert namespace.reaches("ModelRelease", "calm", "Released", 180)["lineage"] == before["lineage"]
    output("helm", "upgrade", "repoloom", "charts/repoloom", *where, "--values=-", given=values)
