"""How the pods of pipelines look: images, resources, nodes, secrets, retries; known when a pipeline is compiled."""

from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from repoloom.corpus.manifest import Record
from repoloom.recipe.model import read_settings


class Toleration(Record):
    """A taint that the pods may stand."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Volume(Record):
    """A claim of a volume that the pods mount, such as the folder that models are trained in."""

    claim: str
    path: str


class Pods(Record):
    """The pods of one kind of task."""

    image: str
    cpu: str = "2"
    memory: str = "8Gi"
    accelerator: str | None = None  # a resource such as nvidia.com/gpu, of which each pod gets one
    shared_memory: str | None = None  # the size of /dev/shm, which is 64 MiB else
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    volumes: tuple[Volume, ...] = ()
    timeout_seconds: int = Field(default=7 * 86400, ge=1)  # of one attempt
    retries: int = Field(default=5, ge=0)  # an attempt goes on where the one before was stopped


class Workers(Record):
    """A training by many pods, as a TrainingRun has them (docs/custom-resources.md)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    workers: int = Field(ge=1)
    processes_per_worker: int = Field(default=1, ge=1)
    parallel: str = "zero1"
    resources: dict[str, JsonValue] | None = None  # of a worker; by default those of the operator
    max_restarts: int = Field(default=3, ge=0)


class Settings(Record):
    """The settings of a compilation; every key has a default."""

    data: Pods = Pods(image="repoloom")
    training: Pods = Pods(image="repoloom-training", memory="16Gi", shared_memory="2Gi")
    training_workers: Workers | None = None  # else the task's own pod trains
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    store_secret: str = "repoloom-store"  # noqa: S105 - its name; of its keys the pods get AWS_*
    redis_secret: str = "repoloom-redis"  # noqa: S105 - likewise, REPOLOOM_REDIS_*; without one a pod does its tasks itself
    caching: bool = True  # False: every task runs, and the engine alone sees what is done already

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Those of a YAML file. Raises InputError naming each wrong line."""
        return cls() if path is None else read_settings(path, cls)
