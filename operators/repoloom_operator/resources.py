"""The three custom resources as the operator reads them; what they may be is said by their definitions in the chart."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP, VERSION = "repoloom.dev", "v1alpha1"
FINALIZER = f"{GROUP}/stop"
"""Keeps a resource until what it runs has stopped. Data are kept: no resource's end deletes any."""

Manifest = Mapping[str, Any]
"""An object as Kubernetes' API has it."""


class Spec(BaseModel):
    """What is wanted. What this operator does not know is of a later one."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Ref(Spec):
    """Another resource of the same namespace."""

    name: str


class CorpusRef(Ref):
    """A CorpusBuild, and, where only one will do, the corpus that it is to have made."""

    digest: str | None = None


class CorpusBuildSpec(Spec):
    """The data path of a recipe, in a store."""

    recipe: Mapping[str, Any]
    store: str
    digest: str | None = None  # of the corpus that the store holds already: nothing is built
    suspend: bool = False


class TrainingRunSpec(Spec):
    """The training of a recipe on a corpus."""

    recipe: Mapping[str, Any] | None = None  # by default the corpus' own
    corpus_ref: CorpusRef
    out: str
    workers: int = 1
    processes_per_worker: int = 1
    parallel: str = "zero1"
    resources: Mapping[str, Any] | None = None  # of a worker; by default the settings'
    max_restarts: int = 3
    hang_seconds: int = 1800
    active_deadline_seconds: int | None = None
    suspend: bool = False
    ttl_seconds_after_finished: int | None = None


class Gates(Spec):
    """What a model must reach on held-out code before anybody is served by it."""

    max_bits_per_byte: float | None = None
    min_exact_match: float | None = None
    min_edit_similarity: float | None = None
    decontaminated_from: tuple[str, ...] = ()  # benchmarks that the corpus must have been cleaned of


class Canary(Spec):
    """How long a new model serves a part before it serves all."""

    seconds: int = 300


class ModelReleaseSpec(Spec):
    """The release of a training's model."""

    training_ref: Ref
    gates: Gates = Gates()
    deployment: str | None = None  # of the inference chart; without one the release ends at the gates
    canary: Canary = Canary()


S = TypeVar("S", bound=Spec)
Kind = Literal["CorpusBuild", "TrainingRun", "ModelRelease"]
PLURALS: Mapping[Kind, str] = {
    "CorpusBuild": "corpusbuilds",
    "TrainingRun": "trainingruns",
    "ModelRelease": "modelreleases",
}
SPECS: Mapping[Kind, type[Spec]] = {
    "CorpusBuild": CorpusBuildSpec,
    "TrainingRun": TrainingRunSpec,
    "ModelRelease": ModelReleaseSpec,
}


@dataclass(frozen=True)
class Resource(Generic[S]):
    """One of the three, as it stands."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    generation: int
    finalizers: tuple[str, ...]
    deleting: bool
    spec: S
    status: Mapping[str, Any]
    version: str  # changes with every write

    @classmethod
    def parse(cls, kind: Kind, manifest: Manifest, spec: type[S]) -> "Resource[S]":
        """The resource of a manifest."""
        metadata = manifest["metadata"]
        return cls(
            kind=kind,
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            finalizers=tuple(metadata.get("finalizers", ())),
            deleting="deletionTimestamp" in metadata,
            spec=spec.model_validate(manifest["spec"]),
            status=manifest.get("status", {}),
            version=metadata["resourceVersion"],
        )


def camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a status, named as Kubernetes names fields; what is None is left out."""
    return {to_camel(name): value for name, value in fields.items() if value is not None}


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """What `timestamp` wrote. A fraction of a second, which some controllers write, is kept."""
    return datetime.fromisoformat(text)
