"""The services and the data path on the cluster: real calls, and the laptop's bytes."""

from pathlib import Path
from typing import Any

from cluster import Namespace, output, wait_for

LIMIT = 300.0  # seconds of a build, on two cores that do everything else too


def test_each_service_answers_a_real_call(namespace: Namespace) -> None:
    said = output("helm", "test", "repoloom", "--namespace", namespace.name, "--logs", "--timeout", "3m")
    assert said.count(" answers") == 7


def test_skaffold_verifies_what_it_has_deployed(namespace: Namespace, tmp_path: Path) -> None:
    built = tmp_path / "built.json"
    built.write_text(output("skaffold", "build", "--profile=e2e", "--quiet"))
    output("skaffold", "verify", "--profile=e2e", f"--namespace={namespace.name}", f"--build-artifacts={built}")


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
