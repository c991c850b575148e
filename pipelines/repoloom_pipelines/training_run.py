"""Training by many workers: a task of a pipeline hands it to repoloom's operator, as a TrainingRun, and waits."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from repoloom.corpus.stored import stored
from repoloom.errors import ConflictError, InputError, RepoloomError, UnavailableError
from repoloom.recipe.model import Recipe
from repoloom.recipe.progress import PROGRESS, Progress
from repoloom.recipe.run import RunRecord
from repoloom.store import open_store
from repoloom_pipelines.claim import check_claim, name_of
from repoloom_pipelines.patience import TIMEOUT, patiently
from repoloom_pipelines.settings import Workers

if TYPE_CHECKING:
    from repoloom.recipe.results import Trained

_GROUP, _VERSION = "repoloom.dev", "v1alpha1"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LOOK_SECONDS = 5.0

_Plural = Literal["corpusbuilds", "trainingruns"]


class _NotTrainedError(RepoloomError):
    """What the operator says of a training that came to nothing."""


def train_by_operator(recipe: str, store: str, claimed: str, corpus: str, workers: Workers) -> "Trained":
    """Has a TrainingRun of this pod's namespace train on the packed tokens of that digest, to STORE/model.

    Its name is of the claim's, the store and the corpus: another attempt finds the one that is there and waits for it,
    and another corpus, of sources that have moved, has another one. Where one has trained, and STORE/model is another's
    since, the next of that name trains: from the newest checkpoint, which is soon done. Nothing is built: the
    CorpusBuild is of what lies there, and of the recipe that made it. Raises UnavailableError where there is no
    Kubernetes, no operator or no right to use it, ConflictError where the store was claimed for another recipe since,
    or does not hold the corpus, or the model that was made just now, any more.
    """
    from repoloom_pipelines.model_path import open_model

    check_claim(store, claimed)
    _forget_progress(store)
    whose = f"{name_of(claimed)} of {store}"  # the name may be of several
    build = f"pipeline-{hashlib.sha256(whose.encode()).hexdigest()[:16]}"
    told = {"recipe": RunRecord.read(store).recipe, "store": store, "digest": corpus}
    wanted = {
        "recipe": Recipe.parse(recipe, "recipe").model_dump(),
        "corpusRef": {"name": build, "digest": corpus},
        "out": store,
        **workers.model_dump(by_alias=True, exclude_none=True),
    }

    def check() -> None:
        check_claim(store, claimed)
        _check_corpus(store, corpus)

    number = 1
    while True:
        name = _name(build, corpus, number)
        resources = _Resources({"corpusbuilds": build, "trainingruns": name})
        resources.want("corpusbuilds", told)
        is_new = resources.want("trainingruns", wanted)
        weights = resources.wait(check)
        if _weights_at(store) == weights:
            return open_model(store)
        if is_new:
            raise ConflictError(f"{store} does not hold the model that TrainingRun {name} made, {weights}")
        number += 1


def _name(build: str, corpus: str, number: int) -> str:
    """The name of the TrainingRun of that number on a corpus: 38 characters, of the 40 that it may have."""
    end = f"-{number}" if number > 1 else ""
    return f"{build}-{corpus.removeprefix('sha256:')[: 12 - len(end)]}{end}"


def _weights_at(store: str) -> str | None:
    """The SHA-256 of the weights of whatever was trained there last."""
    from repoloom.recipe.results import TRAINING, Trained

    trained = stored(open_store(store), TRAINING, Trained)
    return trained.weights if trained else None


def _forget_progress(store: str) -> None:
    """Deletes what a former run says that did not come to its end: the stages, which say nothing, went on since."""
    kept = open_store(store)
    progress = Progress.read(kept)
    if progress and progress.state != "done":
        kept.delete(PROGRESS)


def _check_corpus(store: str, corpus: str) -> None:
    """Raises ConflictError where the store holds another corpus; none while a run is at work there says nothing."""
    found = {made.step: made.digest for made in RunRecord.read(store).made}.get("pack", corpus)
    if found != corpus:
        raise ConflictError(f"{store} holds the corpus {found}, the task was given {corpus}")


class _Resources:
    """The CorpusBuild and the TrainingRun."""

    def __init__(self, names: Mapping[_Plural, str]) -> None:
        self._names = names
        try:
            config.load_incluster_config()
            self._namespace = _NAMESPACE.read_text()
        except (ConfigException, OSError) as error:
            raise UnavailableError(
                "training by workers needs a pod with the token of a service account that may use "
                f"corpusbuilds and trainingruns of {_GROUP}: {error}"
            ) from error
        self._api = client.CustomObjectsApi()

    def want(self, plural: _Plural, spec: Mapping[str, Any]) -> bool:
        """Makes the resource, or, where it is there with another spec, gives it this one; whether it was not there."""
        kind = {"corpusbuilds": "CorpusBuild", "trainingruns": "TrainingRun"}[plural]
        body = {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": kind,
            "metadata": {"name": self._names[plural]},
            "spec": dict(spec),
        }
        where = (_GROUP, _VERSION, self._namespace, plural)
        try:
            patiently(lambda: self._api.create_namespaced_custom_object(*where, body, _request_timeout=TIMEOUT))
            return True
        except ApiException as error:
            if error.status != 409:
                raise _refused(error, f"create {plural}") from error
            found = self._get(plural)["spec"]
            if found == {**found, **spec}:
                return False
            this, change = (*where, self._names[plural]), {"spec": dict(spec)}
            try:
                patiently(lambda: self._api.patch_namespaced_custom_object(*this, change, _request_timeout=TIMEOUT))
            except ApiException as error:
                raise _refused(error, f"patch {plural}") from error
            return False

    def wait(self, check: Callable[[], None]) -> str:
        """Until it has trained; the SHA-256 of the weights.

        Raises InputError for a refused recipe, _NotTrainedError, and what `check` raises.
        """
        said = ""
        while True:
            check()
            for plural in self._names:
                status = self._status(plural)
                phase = status.get("phase", "")
                why = "; ".join(
                    c["message"] for c in status.get("conditions", ()) if c["status"] == "False" and c["message"]
                )
                if phase == "Refused":
                    raise InputError(why)
                if phase == "Failed":
                    raise _NotTrainedError(f"{why}; delete {plural} {self._names[plural]} to try again")
            if phase == "Succeeded":
                return str(status["weights"])
            if (line := _line(phase, status)) != said:
                print(said := line, flush=True)
            time.sleep(_LOOK_SECONDS)

    def _status(self, plural: _Plural) -> Mapping[str, Any]:
        found = self._get(plural)
        status: Mapping[str, Any] = found.get("status", {})
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}

    def _get(self, plural: _Plural) -> Mapping[str, Any]:
        this = (_GROUP, _VERSION, self._namespace, plural, self._names[plural])
        try:
            found: Mapping[str, Any] = patiently(
                lambda: self._api.get_namespaced_custom_object(*this, _request_timeout=TIMEOUT)
            )
        except ApiException as error:
            raise _refused(error, f"get {plural}") from error
        return found


def _refused(error: ApiException, verb: str) -> UnavailableError:
    return UnavailableError(f"Kubernetes answers {error.status} {error.reason} to {verb}.{_GROUP}: {error.body}")


def _line(phase: str, status: Mapping[str, Any]) -> str:
    """How far it is, in a line of a log."""
    at, phase = status.get("progress", {}), phase or "waits for the operator"
    if not at.get("step") and at.get("prepared"):
        return f"{phase}: before the first step of {at['stage']}, {at['prepared']} pieces done"
    return f"{phase}: step {at['step']} of {at['steps']}" if "step" in at else phase
