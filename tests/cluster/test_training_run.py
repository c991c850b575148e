"""Trainings on the cluster: the same weights, whatever is lost meanwhile."""

import os
from typing import Any

import pytest

from cluster import Namespace, output, wait_for

LIMIT = 300.0  # seconds of a training, on two cores that do everything else too
STEPS, CHECKPOINT = 80, 10

DIGEST = """
import sys
from repoloom.store import open_store
from repoloom.store.folders import sha256
for out in sys.argv[1:]:
    print(sha256(open_store(out), "model/model.safetensors"), end=" ")
"""


def test_two_workers_that_are_lost_leave_the_weights_of_two_that_are_not(
    namespace: Namespace, recipe: dict[str, Any], corpus: str
) -> None:
    train = {**recipe["train"], "batch_size": 4, "micro_batch_size": 2, "threads": 1}
    train |= {"steps": STEPS, "checkpoint_every": CHECKPOINT}
    spec = {"corpusRef": {"name": "calm"}, "recipe": {**recipe, "train": train}, "workers": 2, "parallel": "zero2"}

    namespace.make("TrainingRun", "undisturbed", **spec, out=f"{corpus}/undisturbed")
    _reaches_step(namespace, "undisturbed", 1)
    progress = namespace.status("TrainingRun", "undisturbed")["progress"]
    assert progress["steps"] == STEPS
    assert progress["tokens"] == progress["step"] * train["batch_size"] * recipe["sequence_length"]
    assert min(progress[name] for name in ("loss", "learningRate", "tokensPerSecond", "secondsLeft")) > 0
    assert "mfu" not in progress  # nobody knows a CPU's peak
    undisturbed = namespace.reaches("TrainingRun", "undisturbed", "Succeeded", LIMIT)
    assert undisturbed["restarts"] == 0

    namespace.make("TrainingRun", "disturbed", **spec, out=f"{corpus}/disturbed")
    _reaches_step(namespace, "disturbed", CHECKPOINT)
    before = _job(namespace)
    namespace.kill("disturbed-train-worker-0")
    wait_for("another job", LIMIT, lambda: _job(namespace) not in ("", before))
    wait_for("its first word of a step", LIMIT, lambda: "  pretrain  step " in _said(namespace, "disturbed"))
    assert f" step 1/{STEPS} " not in _said(namespace, "disturbed")
    _restart_kubelet()
    disturbed = namespace.reaches("TrainingRun", "disturbed", "Succeeded", LIMIT)
    assert disturbed["restarts"] == 1
    assert disturbed["weights"] == undisturbed["weights"]
    outs = (f"{corpus}/undisturbed", f"{corpus}/disturbed")
    files = {"digests.py": DIGEST}
    namespace.start("weights", namespace.image(), "python", "/files/digests.py", *outs, files=files)
    assert namespace.said("weights", 60).split() == [undisturbed["weights"], disturbed["weights"]]


def test_a_name_that_no_service_can_have_is_refused(namespace: Namespace) -> None:
    with pytest.raises(AssertionError, match="begins with a letter: it names services"):
        namespace.make("TrainingRun", "7b", corpusRef={"name": "calm"}, out=namespace.store("7b"))


def _reaches_step(namespace: Namespace, run: str, step: int) -> None:
    def reached() -> bool:
        return int(namespace.status("TrainingRun", run).get("progress", {}).get("step", 0)) >= step

    wait_for(f"step {step} of {run}", LIMIT, reached)


def _said(namespace: Namespace, run: str) -> str:
    pods = [pod for pod in namespace.children("pods", run) if pod["status"]["phase"] != "Pending"]
    return "".join(namespace.kubectl("logs", pod["metadata"]["name"]) for pod in pods)


def _job(namespace: Namespace) -> str:
    jobs = namespace.children("pytorchjobs", "disturbed")
    return str(jobs[0]["metadata"]["uid"]) if jobs else ""


def _restart_kubelet() -> None:
    """Where a command for it is given: as an upgrade of a node does."""
    if command := os.environ.get("REPOLOOM_E2E_RESTART_KUBELET"):
        output("bash", "-c", command)
