"""ModelRelease: measures a training's model, lets it through the gates, has it served: to few first, then to all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from repoloom.recipe.results import Evaluated
from repoloom_operator import runners
from repoloom_operator.actions import Action, AddFinalizer, Requeue
from repoloom_operator.children import Child, Children, State, Wanted, work_of
from repoloom_operator.conditions import Condition, Outcome, holds
from repoloom_operator.corpus_build import Kept
from repoloom_operator.deployments import Deployment, Model
from repoloom_operator.gates import missed
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import (
    FINALIZER,
    CorpusBuildSpec,
    ModelReleaseSpec,
    Resource,
    TrainingRunSpec,
    moment,
    timestamp,
)
from repoloom_operator.settings import Settings
from repoloom_operator.training_run import Output


@dataclass(frozen=True)
class Observed:
    """All that decides what is to be done."""

    now: datetime
    settings: Settings
    resource: Resource[ModelReleaseSpec]
    children: Sequence[Child]
    training: Resource[TrainingRunSpec] | None
    corpus: Resource[CorpusBuildSpec] | None  # of the training
    kept: Kept  # of the corpus
    output: Output  # of the training
    serving: Deployment | None
    canary: Deployment | None


def reconcile(seen: Observed) -> Iterator[Action]:
    """The next steps towards what the resource wants; none where all is as it should be."""
    release = seen.resource
    children = Children(release, seen.children)
    if release.deleting:
        if FINALIZER in release.finalizers:
            yield from children.end()
        return
    if FINALIZER not in release.finalizers:
        yield AddFinalizer()
        return
    training, corpus = seen.training, seen.corpus
    if training is None or corpus is None or not _current(training):
        if release.status.get("phase") in _ENDS and release.status["observedGeneration"] == release.generation:
            return  # whatever becomes of the training, what was done with its model stays on record
        named = release.spec.training_ref.name
        phase = training.status.get("phase", "new") if training else "not there"
        yield from children.stop()
        yield from Outcome("Pending", (_not_ready("TrainingNotReady", f"TrainingRun {named} is {phase}"),), {}).write(
            release, seen.now
        )
        yield Requeue(seen.settings.look_seconds)
        return
    yield from _Release(seen, training, corpus).steps()


def _current(training: Resource[TrainingRunSpec]) -> bool:
    return holds(training.status, "Ready") and training.status.get("observedGeneration") == training.generation


_ENDS = ("Released", "RolledBack")


def _not_ready(reason: str, said: str = "", *, alarming: bool = False) -> Condition:
    return Condition("Ready", False, reason, said, alarming=alarming)


def _released(said: str) -> Condition:
    return Condition("Ready", True, "Released", said)


class _Release:
    """A model, and how far it is."""

    def __init__(self, seen: Observed, training: Resource[TrainingRunSpec], corpus: Resource[CorpusBuildSpec]) -> None:
        self.seen, self.training, self.corpus = seen, training, corpus
        self.spec, self.now = seen.resource.spec, seen.now
        self.recipe = _recipe(training, corpus)
        self.model = Model(f"{training.spec.out}/model", training.status["weights"])
        work = work_of(self.model.sha256, self.recipe.identity, self.spec.model_dump(mode="json"))
        status = seen.resource.status
        kept = status if status.get("work") == work else {}
        self.phase = kept.get("phase", "")
        self.fields: dict[str, Any] = {
            "work": work,
            **{name: kept.get(name) for name in ("former", "canarySince", "scores")},
            "lineage": {
                "model": self.model.sha256,
                "training": training.status["identity"],
                "corpus": training.status["corpus"],
                "recipe": self.recipe.identity,
            },
        }

    def steps(self) -> Iterator[Action]:
        """What is to be done; the status is written before what it remembers is overwritten."""
        release = self.seen.resource
        if self.phase in _ENDS:
            yield from self._roll_back() if self.phase == "RolledBack" else ()
            return
        wanted = self._evaluation()
        evaluated = self.seen.output.evaluated
        if evaluated is None or evaluated.weights != self.model.sha256:
            yield from Children(release, self.seen.children).ensure(wanted)
            phase, ready = self._evaluating(Children(release, self.seen.children).current(wanted))
            yield from self._write(phase, ready)
            if phase != "Failed":
                yield Requeue(self.seen.settings.look_seconds)
            return
        passed = self._gates(evaluated)
        if not passed.holds:
            yield from self._write("Rejected", _not_ready("GatesMissed", "nothing was rolled out"), passed)
        elif self.spec.deployment is None:
            yield from self._write("Released", _released("the model passed its gates"), passed)
        else:
            yield from self._roll_out(passed)

    def _evaluation(self) -> Wanted:
        command = ["repoloom", "eval", runners.RECIPE_FILE]
        command += ["--store", self.corpus.spec.store, "--out", self.training.spec.out]
        return runners.job(
            self.seen.resource,
            self.seen.settings,
            self.recipe.content,
            work_of(self.model.sha256, self.recipe.identity),
            name="evaluate",
            pods=self.seen.settings.evaluation,
            image=self.seen.settings.images.training,
            command=command,
        )

    def _evaluating(self, job: Child | None) -> tuple[str, Condition]:
        if job and job.state is State.FAILED:
            said = f"{job.said or 'its pod said nothing'}\nDelete the Job {job.name} to try again."
            return "Failed", _not_ready("EvaluationFailed", said, alarming=True)
        if job and job.state is State.SUCCEEDED:
            said = self.seen.output.trouble or f"{self.training.spec.out} holds no evaluation of this model"
            return "Evaluating", _not_ready("StoreUnread", said, alarming=True)
        return "Evaluating", _not_ready("Evaluating", job.said if job else "")

    def _gates(self, evaluated: Evaluated) -> Condition:
        scores = evaluated.evaluation.overall.trained
        self.fields["scores"] = {
            "bitsPerByte": scores.bits_per_byte,
            "exactMatch": scores.exact_match,
            "editSimilarity": scores.edit_similarity,
        }
        lacks = list(missed(self.spec.gates, scores, self.seen.kept.benchmarks))
        if lacks:
            return Condition("GatesPassed", False, "GatesMissed", "\n".join(lacks), alarming=True)
        return Condition("GatesPassed", True, "GatesPassed", "the model is let through")

    def _roll_out(self, passed: Condition) -> Iterator[Action]:
        """To the canary, which must serve without a break for a while, then to all."""
        serving, canary = self.seen.serving, self.seen.canary
        look = Requeue(self.seen.settings.look_seconds)
        if serving is None or serving.model is None:
            said = f"there is no Deployment {self.spec.deployment} that serves a model"
            yield from self._write("RollingOut", _not_ready("DeploymentMissing", said, alarming=True), passed)
            yield look
            return
        if self.fields["former"] is None:
            self.fields["former"] = {"uri": serving.model.uri, "sha256": serving.model.sha256}
            yield from self._write("Canary", _not_ready("Canary"), passed)
            yield Requeue(0)
            return
        if canary and canary.replicas and self.phase == "Canary":
            yield from self._try(canary, passed)
            yield look
        elif serving.model != self.model:
            yield from self._write("RollingOut", _not_ready("RollingOut", "all replicas get the model"), passed)
            yield serving.serve(self.model)
            yield look
        elif serving.stuck:
            yield from self._write("RolledBack", self._broken(serving), passed)
            yield Requeue(0)
        elif serving.ready:
            yield from self._write("Released", _released("all replicas serve the model"), passed)
        else:
            yield from self._write("RollingOut", _not_ready("RollingOut", "all replicas get the model"), passed)
            yield look

    def _try(self, canary: Deployment, passed: Condition) -> Iterator[Action]:
        since = self.fields["canarySince"]
        if canary.model != self.model:
            yield canary.serve(self.model)
        elif canary.stuck or (since and not canary.ready):
            yield from self._write("RolledBack", self._broken(canary), passed)
        elif canary.ready and since and self.now - moment(since) >= timedelta(seconds=self.spec.canary.seconds):
            yield from self._write("RollingOut", _not_ready("RollingOut", "the canary held"), passed)
        elif canary.ready and not since:
            self.fields["canarySince"] = timestamp(self.now)
            yield from self._write("Canary", _not_ready("Canary", "the canary serves the model"), passed)
        elif not since:
            yield from self._write("Canary", _not_ready("Canary", canary.said), passed)

    def _broken(self, deployment: Deployment) -> Condition:
        said = f"{deployment.name} did not serve the model; it goes back to {self.fields['former']['uri']}"
        if deployment.said:
            said += f"\n{deployment.said}"
        return _not_ready("RolledBack", said, alarming=True)

    def _roll_back(self) -> Iterator[Action]:
        """Once, which the status remembers: whoever serves the model later means it."""
        if self.fields["former"] is None:
            return
        former = Model(**self.fields["former"])
        served = [each for each in (self.seen.serving, self.seen.canary) if each and each.model == self.model != former]
        if served:
            yield from (deployment.serve(former) for deployment in served)
            yield Requeue(0)
        else:
            self.fields["former"] = None
            yield from self._write("RolledBack")

    def _write(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        return Outcome(phase, conditions, self.fields).write(self.seen.resource, self.now)


def _recipe(training: Resource[TrainingRunSpec], corpus: Resource[CorpusBuildSpec]) -> Checked:
    """The recipe by which a training that ended was made. Raises InputError where it has been changed to none since."""
    return check(training.spec.recipe if training.spec.recipe is not None else corpus.spec.recipe)
