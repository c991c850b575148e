"""How the pods look that the operator starts: one file, which the chart renders from its values."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from repoloom.errors import InputError

SETTING = "REPOLOOM_OPERATOR_SETTINGS"

Object = Mapping[str, Any]
"""What Kubernetes defines and the operator passes on."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class Images(_Settings):
    """What runs."""

    repoloom: str
    training: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


class Pods(_Settings):
    """What differs between the pods of the data path, of training and of evaluation."""

    env_from: tuple[Object, ...] = ()  # besides those of all: Redis, of those that give it tasks
    env: tuple[Object, ...] = ()
    priority_class: str = ""
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Object, ...] = ()
    resources: Object = {}
    volumes: tuple[Object, ...] = ()  # besides the pod's own: what a recipe reads that is no download
    volume_mounts: tuple[Object, ...] = ()
    grace_seconds: int = Field(default=120, ge=30)  # from SIGTERM to SIGKILL: a training saves a checkpoint meanwhile
    shared_memory: str | None = None  # the size of /dev/shm where no volume is mounted; 64 MiB else


class TrainingJob(StrEnum):
    """What a training is run by: Kubeflow's training operator, or its successor, Kubeflow Trainer (2.2 or newer)."""

    PYTORCH_JOB = "PyTorchJob"
    TRAIN_JOB = "TrainJob"


class Training(Pods):
    """What only a training has."""

    job: TrainingJob = TrainingJob.PYTORCH_JOB
    queue: str = ""  # Kueue's LocalQueue, which admits a job as a whole
    scheduling_queue: str = ""  # of a gang scheduler, Volcano or what the training operator was told to use


class Settings(_Settings):
    """The file."""

    images: Images
    store_roots: tuple[str, ...] = ()  # below them lies all that resources may have written; without any, anywhere
    service_account: str = "default"  # of the pods; it needs no rights
    env_from: tuple[Object, ...] = ()  # the store's credentials, by the names of their secrets
    env: tuple[Object, ...] = ()
    data: Pods = Pods()
    training: Training = Training()
    evaluation: Pods = Pods()
    retries: int = Field(default=4, ge=0)  # of a Job's pod, ten seconds apart at first and twice as long each time
    look_seconds: float = Field(default=10, gt=0)  # between two looks at what announces no change: the store, mostly

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment names. Raises InputError that says what is wrong."""
        path = environment.get(SETTING)
        if not path:
            raise InputError(f"{SETTING} is not set; it is the path of the operator's settings, a YAML file")
        try:
            return cls.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
            raise InputError(f"{path}: {said}") from None
