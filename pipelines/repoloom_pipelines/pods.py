"""What a task's pod is: the settings as kfp and kfp-kubernetes have them."""

from kfp import dsl, kubernetes

from repoloom.engine.queue import REDIS_URL
from repoloom_pipelines.settings import Pods, Settings

_STORE = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
_REDIS = (REDIS_URL, "REPOLOOM_REDIS_PASSWORD")


def shape(task: dsl.PipelineTask, pods: Pods, settings: Settings, *, cached: bool) -> None:
    """Gives a task its pod. `cached` says that its inputs tell all that its outputs depend on."""
    task.set_container_image(pods.image)
    task.set_caching_options(cached and settings.caching)
    task.set_retry(pods.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    task.set_cpu_request(pods.cpu).set_memory_request(pods.memory).set_memory_limit(pods.memory)
    kubernetes.set_timeout(task, pods.timeout_seconds)
    kubernetes.set_image_pull_policy(task, settings.image_pull_policy)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.image_pull_secrets))
    _use_secret(task, settings.store_secret, _STORE)
    if pods.accelerator:
        task.set_accelerator_type(pods.accelerator).set_accelerator_limit(1)
    if pods.shared_memory:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=pods.shared_memory)  # noqa: S108
    for label, value in pods.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in pods.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    for volume in pods.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path)


def reach_redis(task: dsl.PipelineTask, settings: Settings) -> None:
    """Tells a task where Redis is, by which Celery's workers do its work."""
    _use_secret(task, settings.redis_secret, _REDIS)


def _use_secret(task: dsl.PipelineTask, name: str, keys: tuple[str, ...]) -> None:
    """Those of the keys that a secret has become variables; where there is no such secret, none does."""
    kubernetes.use_secret_as_env(task, name, {key: key for key in keys}, optional=True)
