"""ModelRelease: measures a training's model, lets it through the gates, has it rolled out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from repoloom.recipe.results import Evaluated
from repoloom_operator import runners
from repoloom_operator.actions import Action, AddFinalizer, Requeue
from repoloom_operator.children import Child, Children, State, Wanted, work_of
from repoloom_operator.conditions import Condition, Outcome, holds
from repoloom_operator.corpus_build import Kept
from repoloom_operator.deployments import Deployment, Model, holder
from repoloom_operator.gates import missed
from repoloom_operator.recipes import Checked, check
from repoloom_operator.resources import (
    FINALIZER,
    CorpusBuildSpec,
    ModelReleaseSpec,
    Resource,
    TrainingRunSpec,
)
from repoloom_operator.roll_out import (
    RollOut,
    as_wanted,
    deployment_missing,
    not_ready,
    released,
    under_way,
    work,
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
    release, training, corpus = seen.resource, seen.training, seen.corpus
    children = Children(release, seen.children)
    rolls = (
        RollOut(release, seen.serving, seen.canary, seen.now, seen.settings.look_seconds)
        if under_way(release.status)
        else None
    )
    if release.deleting:
        if FINALIZER in release.finalizers:
            yield from list(rolls.back() if rolls else ()) or children.end()
    elif FINALIZER not in release.finalizers:
        yield AddFinalizer()
    elif rolls:
        yield from rolls.steps()
    elif training is not None and corpus is not None and _current(training):
        yield from _Release(seen, training, corpus).steps()
    elif release.status.get("phase") in _ENDS and as_wanted(release):
        yield from _let_go(seen)  # whatever becomes of the training, what was done with its model stays on record
    else:
        yield from children.stop()
        yield from _let_go(seen)
        named = release.spec.training_ref.name
        phase = training.status.get("phase", "new") if training else "not there"
        waits = not_ready("TrainingNotReady", f"TrainingRun {named} is {phase}")
        yield from Outcome("Pending", (waits,), {}).write(release, seen.now)
        yield Requeue(seen.settings.look_seconds)


def _current(training: Resource[TrainingRunSpec]) -> bool:
    return holds(training.status, "Ready") and training.status.get("observedGeneration") == training.generation


_ENDS = ("Released", "RolledBack")


def _let_go(seen: Observed) -> Iterator[Action]:
    """Leaves the Deployment to other releases."""
    if seen.serving and seen.serving.holder == holder(seen.resource):
        yield seen.serving.let_go()


class _Release:
    """A model that is not rolled out, or has been."""

    def __init__(self, seen: Observed, training: Resource[TrainingRunSpec], corpus: Resource[CorpusBuildSpec]) -> None:
        self.seen, self.training, self.corpus = seen, training, corpus
        self.spec = seen.resource.spec
        self.look = Requeue(seen.settings.look_seconds)
        self.recipe = _recipe(training, corpus)
        self.model = Model(f"{training.spec.out}/model", training.status["weights"])
        self.work = work(self.model.sha256, self.recipe.identity, self.spec)
        self.fields: dict[str, Any] = {
            "work": self.work,
            "lineage": {
                "model": self.model.sha256,
                "training": training.status["identity"],
                "corpus": training.status["corpus"],
                "recipe": self.recipe.identity,
            },
        }

    def steps(self) -> Iterator[Action]:
        """What is to be done."""
        release = self.seen.resource
        if release.status.get("phase") in _ENDS and release.status["work"] == self.work:
            yield from _let_go(self.seen)
            yield from Outcome(release.status["phase"], (), release.status).write(release, self.seen.now)
            return
        wanted = self._evaluation()
        evaluated = self.seen.output.evaluated
        if evaluated is None or evaluated.weights != self.model.sha256:
            children = Children(release, self.seen.children)
            if children.current(wanted) is None and self.spec.deployment is not None and self._served is None:
                yield from children.stop()
                yield from self._missing()
                return
            yield from children.ensure(wanted)
            phase, ready = self._evaluating(children.current(wanted))
            yield from self._rest(phase, ready)
            if phase != "Failed":
                yield self.look
            return
        passed = self._gates(evaluated)
        if not passed.holds:
            yield from self._rest("Rejected", not_ready("GatesMissed", "nothing was rolled out"), passed)
        elif self.spec.deployment is None:
            yield from self._rest("Released", released("the model passed its gates"), passed)
        else:
            yield from self._begin(passed)

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
            return "Failed", not_ready("EvaluationFailed", said, alarming=True)
        if job and job.state is State.SUCCEEDED:
            said = self.seen.output.trouble or f"{self.training.spec.out} holds no evaluation of this model"
            return "Evaluating", not_ready("StoreUnread", said, alarming=True)
        return "Evaluating", not_ready("Evaluating", job.said if job else "")

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

    def _begin(self, passed: Condition) -> Iterator[Action]:
        """Takes the Deployment for this release, and then remembers what it serves: a roll-out is under way."""
        serving, served, me = self.seen.serving, self._served, holder(self.seen.resource)
        if serving is None or served is None:
            yield from self._missing(passed)
        elif served == self.model and serving.ready:
            yield from self._rest("Released", released("all replicas serve the model"), passed)
        elif served == self.model:  # by another's will: there is nothing to go back to
            said = serving.said or "all replicas get the model"
            yield from self._rest("RollingOut", not_ready("RollingOut", said), passed)
            yield self.look
        elif serving.holder == me:
            self.fields |= {"candidate": asdict(self.model), "former": asdict(served)}
            yield from self._write("Canary", not_ready("Canary"), passed)
            yield Requeue(0)
        elif serving.holder:
            said = f"{serving.name} gets the model of ModelRelease {serving.holder.name}, and then this one"
            yield from self._write("Pending", not_ready("DeploymentBusy", said), passed)
            yield self.look
        else:
            yield serving.hold(me)
            yield Requeue(0)

    @property
    def _served(self) -> Model | None:
        """What is served now; None where there is nothing that could serve a model."""
        return self.seen.serving.model if self.seen.serving else None

    def _missing(self, *conditions: Condition) -> Iterator[Action]:
        yield from self._rest("Pending", deployment_missing(self.seen.resource), *conditions)
        yield self.look

    def _rest(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        yield from _let_go(self.seen)
        yield from self._write(phase, *conditions)

    def _write(self, phase: str, *conditions: Condition) -> Iterator[Action]:
        return Outcome(phase, conditions, self.fields).write(self.seen.resource, self.seen.now)


def _recipe(training: Resource[TrainingRunSpec], corpus: Resource[CorpusBuildSpec]) -> Checked:
    """The recipe by which a training that ended was made. Raises InputError where it has been changed to none since."""
    return check(training.spec.recipe if training.spec.recipe is not None else corpus.spec.recipe)
