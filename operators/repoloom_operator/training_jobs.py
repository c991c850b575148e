"""The manifest of a training: one masterless PyTorchJob, whose workers find each other by c10d rendezvous."""

from collections.abc import Mapping
from typing import Any

from repoloom_operator import runners
from repoloom_operator.children import Wanted, metadata, pod_labels
from repoloom_operator.resources import Resource, TrainingRunSpec
from repoloom_operator.settings import Settings

CONTAINER = "pytorch"
"""The name by which the training operator finds the container that it sets up."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def training_job(
    run: Resource[TrainingRunSpec], settings: Settings, recipe: Mapping[str, Any], store: str, work: str
) -> Wanted:
    """The job of a training on the corpus in `store`.

    As many workers as are asked for, no fewer and no more: a Master would bring an init container that restricted Pod
    Security refuses. A worker that fails fails the job, and the operator makes another one: the training operator's own
    backoffLimit counts restarts badly.
    """
    spec, training = run.spec, settings.training
    files = runners.files(run, recipe, work)
    command = ["torchrun", "-m", "repoloom", "train", runners.RECIPE_FILE]
    command += ["--store", store, "--out", spec.out, "--parallel", spec.parallel]
    pod = runners.pod(
        settings,
        training,
        settings.images.training,
        command,
        files["metadata"]["name"],
        container=CONTAINER,
        resources=spec.resources,
    )
    policy: dict[str, Any] = {"cleanPodPolicy": "Running"}
    if spec.active_deadline_seconds:
        policy["activeDeadlineSeconds"] = spec.active_deadline_seconds
    if training.scheduling_queue:
        policy["schedulingPolicy"] = {"minAvailable": spec.workers, "queue": training.scheduling_queue}
    head = metadata(run, f"{run.name}-train", work)
    if training.queue:
        head["labels"][QUEUE_LABEL] = training.queue
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": head,
        "spec": {
            "runPolicy": policy,
            "elasticPolicy": {
                "rdzvBackend": "c10d",
                "minReplicas": spec.workers,
                "maxReplicas": spec.workers,
                "nProcPerNode": spec.processes_per_worker,
                "maxRestarts": 0,
            },
            "pytorchReplicaSpecs": {
                "Worker": {
                    "replicas": spec.workers,
                    "restartPolicy": "Never",
                    "template": {"metadata": {"labels": pod_labels(run, work)}, "spec": pod},
                }
            },
        },
    }
    return Wanted(files, job)
