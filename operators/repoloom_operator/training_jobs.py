"""The manifests of a training: one job of Kubeflow's training operator or of its Trainer, in which torchrun runs.

As many workers as are asked for, no fewer and no more, and one that fails fails the job: the operator makes another
one, which goes on from the newest checkpoint.
"""

from collections.abc import Mapping
from typing import Any

from repoloom_operator import runners
from repoloom_operator.actions import Patch
from repoloom_operator.children import QUEUE_LABEL, Child, Wanted, metadata, pod_labels
from repoloom_operator.resources import Resource, TrainingRunSpec
from repoloom_operator.settings import Settings, TrainingJob

_CONTAINERS = {TrainingJob.PYTORCH_JOB: "pytorch", TrainingJob.TRAIN_JOB: "node"}
"""The name by which each finds the container that it sets up."""

_END_SECONDS = 10
"""What torchrun has to end in, of the pod's own time, when its ranks have saved."""

_RENDEZVOUS_SECONDS = 7 * 24 * 3600
"""What torchrun waits for pods that find no node, which the operator gives up before. By default it fails after one
minute without worker 0, after ten without another. One that all pods have come to and that is not made has the step
stand still, which hangs.
"""

_WAITS = ("join_timeout", "read_timeout", "timeout")
"""Of c10d the first two, of the static rendezvous of a TrainJob the last."""

_OWN_STORES = {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"}
"""Ranks that begin anew, since another pod took a lost one's place, find each other and not those before them."""

_TRAINER = "trainer.kubeflow.org"


def training_job(
    run: Resource[TrainingRunSpec], settings: Settings, recipe: Mapping[str, Any], store: str, work: str
) -> Wanted:
    """The job of a training on the corpus in `store`, of the kind that the settings name."""
    kind = settings.training.job
    files = runners.files(run, recipe, work)
    command = ["torchrun", "--shutdown-timeout", str(settings.training.grace_seconds - _END_SECONDS)]
    command += ["--rdzv-conf", ",".join(f"{name}={_RENDEZVOUS_SECONDS}" for name in _WAITS)]
    command += ["-m", "repoloom", "train", runners.RECIPE_FILE]
    command += ["--store", store, "--out", run.spec.out, "--parallel", run.spec.parallel]
    command += ["--hang-seconds", str(run.spec.hang_seconds), "--keep", "--work", work]
    pod = runners.pod(
        settings,
        settings.training,
        settings.images.training,
        command,
        files["metadata"]["name"],
        container=_CONTAINERS[kind],
        resources=run.spec.resources,
        env=[_OWN_STORES],
    )
    head = metadata(run, f"{run.name}-train", work)
    if settings.training.queue:
        head["labels"][QUEUE_LABEL] = settings.training.queue
    template = {"metadata": {"labels": pod_labels(run, work)}, "spec": pod}
    if kind is TrainingJob.PYTORCH_JOB:
        return Wanted((files,), _pytorch_job(run.spec, settings, head, template))
    runtime = _training_runtime(run.spec, settings, metadata(run, files["metadata"]["name"], work), template)
    return Wanted((files, runtime), _train_job(run.spec, settings, head, runtime["metadata"]["name"]))


def resume(job: Child) -> Patch:
    """Lets a job go on that somebody has suspended."""
    goes_on = {"suspend": False}
    return Patch(job.kind, job.name, {"spec": {"runPolicy": goes_on} if job.kind == "PyTorchJob" else goes_on})


def _pytorch_job(
    spec: TrainingRunSpec, settings: Settings, head: Mapping[str, Any], template: Mapping[str, Any]
) -> dict[str, Any]:
    """Without a master, which would bring an init container that restricted Pod Security refuses: workers find each
    other by c10d rendezvous. The training operator's own backoffLimit counts restarts badly, so there are none.
    """
    policy: dict[str, Any] = {"cleanPodPolicy": "Running", "suspend": bool(settings.training.queue)}
    if spec.active_deadline_seconds:
        policy["activeDeadlineSeconds"] = spec.active_deadline_seconds
    if queue := settings.training.scheduling_queue:
        policy["schedulingPolicy"] = {"minAvailable": spec.workers, "queue": queue}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": head,
        "spec": {
            "runPolicy": policy,
            "elasticPolicy": {
                "rdzvBackend": "c10d",
                "minReplicas": spec.workers,
                "maxReplicas": spec.workers,
                "maxRestarts": 0,
            },
            "nprocPerNode": str(spec.processes_per_worker),
            "pytorchReplicaSpecs": {
                "Worker": {"replicas": spec.workers, "restartPolicy": "Never", "template": template}
            },
        },
    }


def _train_job(spec: TrainingRunSpec, settings: Settings, head: Mapping[str, Any], runtime: str) -> dict[str, Any]:
    job = {
        "runtimeRef": {"apiGroup": _TRAINER, "kind": "TrainingRuntime", "name": runtime},
        "trainer": {"numNodes": spec.workers, "numProcPerNode": spec.processes_per_worker},
        "suspend": bool(settings.training.queue),
    }
    if spec.active_deadline_seconds:
        job["activeDeadlineSeconds"] = spec.active_deadline_seconds
    return {"apiVersion": f"{_TRAINER}/v1alpha1", "kind": "TrainJob", "metadata": head, "spec": job}


def _training_runtime(
    spec: TrainingRunSpec, settings: Settings, head: Mapping[str, Any], template: Mapping[str, Any]
) -> dict[str, Any]:
    """What a TrainJob cannot say of its pods itself, such as whose secrets they have: a runtime for it alone."""
    nodes = {"backoffLimit": 0, "template": template}
    labels = {f"{_TRAINER}/trainjob-ancestor-step": "trainer"}
    jobs: dict[str, Any] = {
        "spec": {"replicatedJobs": [{"name": "node", "template": {"metadata": {"labels": labels}, "spec": nodes}}]}
    }
    runtime: dict[str, Any] = {"mlPolicy": {"numNodes": spec.workers, "torch": {}}, "template": jobs}
    if queue := settings.training.scheduling_queue:
        runtime["podGroupPolicy"] = {"volcano": {}}
        jobs["metadata"] = {"annotations": {"scheduling.volcano.sh/queue-name": queue}}
        template["spec"]["schedulerName"] = "volcano"
    return {"apiVersion": f"{_TRAINER}/v1alpha1", "kind": "TrainingRuntime", "metadata": head, "spec": runtime}
